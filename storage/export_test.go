package storage

// SubmissionList and MetadataPairs are for the tests of what a page costs.
var (
	SubmissionList = submissionList
	MetadataPairs  = metadataPairs
)
