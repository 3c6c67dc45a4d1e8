const { createHmac, timingSafeEqual } = require("node:crypto");

// Tells whether Platen sent this webhook. headers are lower-case, body is the bytes as they came.
function isGenuine(secret, headers, body) {
  const seconds = Number(headers["webhook-timestamp"]);
  if (!(Math.abs(Date.now() / 1000 - seconds) < 5 * 60)) return false; // replayed, or a clock is wrong
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const signed = Buffer.concat([Buffer.from(`${headers["webhook-id"]}.${seconds}.`), body]);
  const want = Buffer.from("v1," + createHmac("sha256", key).update(signed).digest("base64"));
  return (headers["webhook-signature"] ?? "").split(" ").some((one) => {
    const given = Buffer.from(one);
    return given.length === want.length && timingSafeEqual(given, want);
  });
}

module.exports = { isGenuine };
