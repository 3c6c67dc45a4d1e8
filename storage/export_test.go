package storage

// These are for the tests of what reading costs.
var (
	SubmissionList = submissionList
	MetadataPairs  = metadataPairs
	RarestFirst    = (*DB).rarestFirst
)

const Batches = batches
