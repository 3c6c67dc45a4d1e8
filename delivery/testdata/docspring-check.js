// The check that DocSpring's guide to its S3 integration tells clients to make of a
// submission: has the file arrived in the bucket?
function hasUploaded(submission) {
  if (submission.actions.length === 0) return false;
  const action = submission.actions.find((a) => a.action_type === "aws_s3_upload");
  return action !== undefined && action.state === "processed";
}

const body = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
console.log(hasUploaded(body.submission));
