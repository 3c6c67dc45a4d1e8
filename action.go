package platen

import "time"

// ActionType is what an action does.
type ActionType string

// The action types.
const ActionAWSS3Upload ActionType = "AWS_S3_UPLOAD"

// ActionState is where an action is on its way (R6.2).
type ActionState string

// The states: PENDING until it is done or given up.
const (
	ActionPending   ActionState = "PENDING"
	ActionProcessed ActionState = "PROCESSED"
	ActionFailed    ActionState = "FAILED"
)

// Action is one thing done with one document once it is processed: the copy into
// one bucket (R6.1).
type Action struct {
	AccountID     string         `json:"accountId"`
	ID            string         `json:"id"`
	Type          ActionType     `json:"type"`
	State         ActionState    `json:"state"`
	IntegrationID string         `json:"integrationId,omitempty"`
	SubmissionID  string         `json:"submissionId"`
	Test          bool           `json:"test"`
	Destination   string         `json:"destination,omitempty"` // as of the latest attempt, without secrets
	Attempts      int            `json:"attempts"`
	NextAttemptAt *time.Time     `json:"nextAttemptAt,omitempty"`
	Receipt       *UploadReceipt `json:"receipt,omitempty"`
	Failure       *Failure       `json:"failure,omitempty"` // of the latest attempt
	CreatedAt     time.Time      `json:"createdAt"`
	UpdatedAt     time.Time      `json:"updatedAt"`
	Revision      int            `json:"revision"`
}

// Final tells whether the action will not change any more by itself.
func (a *Action) Final() bool { return a.State != ActionPending }

// UploadReceipt is what the bucket acknowledged.
type UploadReceipt struct {
	Bucket     string    `json:"bucket"`
	Region     string    `json:"region"`
	Key        string    `json:"key"`
	URL        string    `json:"url"` // without any signature or secret
	ETag       string    `json:"etag"`
	VersionID  string    `json:"versionId,omitempty"` // where the bucket keeps versions
	ByteSize   int64     `json:"byteSize"`
	SHA256     string    `json:"sha256"` // hex
	UploadedAt time.Time `json:"uploadedAt"`
}

// The retry schedule of transient delivery faults (R6.3), as lengths of time.
const (
	DeliveryRetryBase = 10 * time.Second // before the second attempt; doubles each time
	DeliveryRetryMax  = 6 * time.Hour    // the longest pause
	DeliveryGiveUp    = 24 * time.Hour   // no attempt is the last before this age of the action
)

// RetryDelay is the pause after attempt number attempts (1-based): base doubled
// each time, at most DeliveryRetryMax, spread by jitter (0 to 1) over 75 to 125 %
// so that a bucket that comes back is not met by all at once.
func RetryDelay(base time.Duration, attempts int, jitter float64) time.Duration {
	delay := base
	for i := 1; i < attempts && delay < DeliveryRetryMax; i++ {
		delay *= 2
	}
	delay = min(delay, DeliveryRetryMax)
	return time.Duration(float64(delay) * (0.75 + jitter/2))
}
