// Prints an address that was signed for one PUT, as the clients of docs/presigned.md
// make it. Arguments: client, endpoint, access key id, secret, bucket, key, seconds,
// and, for aws, the content type to sign.
import { S3Client, PutObjectCommand } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import * as Minio from "minio";

const [client, endpoint, accessKey, secretKey, bucket, key, seconds, contentType] = process.argv.slice(2);
const url = new URL(endpoint);

async function sign() {
  if (client === "minio") {
    const minio = new Minio.Client({ endPoint: url.hostname, port: Number(url.port), useSSL: false, accessKey, secretKey, region: "us-east-1" });
    return minio.presignedPutObject(bucket, key, Number(seconds));
  }
  const s3 = new S3Client({
    region: "us-east-1", endpoint, forcePathStyle: true, credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
    requestChecksumCalculation: client === "aws" ? "WHEN_REQUIRED" : undefined, // undefined: what the SDK does by itself
  });
  const command = new PutObjectCommand({ Bucket: bucket, Key: key, ContentType: contentType });
  return getSignedUrl(s3, command, { expiresIn: Number(seconds), signableHeaders: contentType ? new Set(["content-type"]) : undefined });
}

console.log(await sign());
