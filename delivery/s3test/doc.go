// Package s3test is an S3 server inside a test. It verifies signatures by signing
// again with the SDK's own signer, checks bodies, clocks and what each key may do,
// keeps objects in memory, and misbehaves on demand.
package s3test
