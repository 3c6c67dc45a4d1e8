package platen

import "time"

// ActionType is what an action does.
type ActionType string

// The action types.
const (
	ActionAWSS3Upload     ActionType = "AWS_S3_UPLOAD"
	ActionPresignedUpload ActionType = "PRESIGNED_UPLOAD"
	ActionWebhook         ActionType = "WEBHOOK"
)

// ActionState is where an action is on its way (R6.2).
type ActionState string

// The states: PENDING until it is done or given up.
const (
	ActionPending   ActionState = "PENDING"
	ActionProcessed ActionState = "PROCESSED"
	ActionFailed    ActionState = "FAILED"
)

// Action is one thing done with one document once it is processed, e.g. the copy
// into one bucket; or with one published version of a template (R6.1, R6.2).
type Action struct {
	AccountID     string      `json:"accountId"`
	ID            string      `json:"id"`
	Type          ActionType  `json:"type"`
	State         ActionState `json:"state"`
	IntegrationID string      `json:"integrationId,omitempty"` // "" for a presigned upload
	SubjectID     string      `json:"subjectId"`               // a submission, a combined submission or a template version
	Test          bool        `json:"test"`
	Destination   string      `json:"destination,omitempty"` // as of the latest attempt, without secrets
	Attempts      int         `json:"attempts"`
	NextAttemptAt *time.Time  `json:"nextAttemptAt,omitempty"`
	// Upload or Webhook is what the other side acknowledged, once PROCESSED.
	Upload    *UploadReceipt  `json:"upload,omitempty"`
	Webhook   *WebhookReceipt `json:"webhook,omitempty"`
	Failure   *Failure        `json:"failure,omitempty"` // of the latest attempt
	CreatedAt time.Time       `json:"createdAt"`
	UpdatedAt time.Time       `json:"updatedAt"`
	Revision  int             `json:"revision"`

	// AfterUploads says that a webhook waits until no upload of its subject is PENDING.
	AfterUploads bool `json:"afterUploads,omitempty"`
	// TriedSince is when this run of attempts began: at the creation, at the end of
	// the uploads it waited for, or at a retry. Transient faults are tried again for
	// DeliveryGiveUp from then on.
	TriedSince time.Time `json:"triedSince"`
	// TriedBefore counts the attempts before this run.
	TriedBefore int `json:"triedBefore,omitempty"`
	// AttemptedAt is when the latest attempt ended.
	AttemptedAt *time.Time `json:"attemptedAt,omitempty"`
	// PresignedUpload is where a presigned upload goes, encrypted; nil once PROCESSED.
	PresignedUpload []byte `json:"-"`
}

// Final tells whether the action will not change any more by itself.
func (a *Action) Final() bool { return a.State != ActionPending }

// ActionFilter chooses actions; what is empty does not matter.
type ActionFilter struct {
	Types         []ActionType
	States        []ActionState
	IntegrationID string
	SubjectID     string
	Test          *bool // template versions are neither
}

// UploadReceipt is what the bucket acknowledged.
type UploadReceipt struct {
	// Bucket, Region and Key are "" where they cannot be told from a presigned URL.
	Bucket     string    `json:"bucket,omitempty"`
	Region     string    `json:"region,omitempty"`
	Key        string    `json:"key,omitempty"`
	URL        string    `json:"url"`                 // without any signature or secret
	ETag       string    `json:"etag,omitempty"`      // without quotes
	VersionID  string    `json:"versionId,omitempty"` // where the bucket keeps versions
	ByteSize   int64     `json:"byteSize"`
	SHA256     string    `json:"sha256"` // hex
	UploadedAt time.Time `json:"uploadedAt"`
}

// WebhookReceipt is what the receiver of a webhook acknowledged.
type WebhookReceipt struct {
	URL         string    `json:"url"` // without user, password and query
	HTTPStatus  int       `json:"httpStatus"`
	DeliveredAt time.Time `json:"deliveredAt"`
}

// The retry schedule of transient delivery faults (R6.3), as lengths of time.
const (
	DeliveryRetryBase = 10 * time.Second // before the second attempt; doubles each time
	DeliveryRetryMax  = 6 * time.Hour    // the longest pause
	DeliveryGiveUp    = 24 * time.Hour   // no attempt is the last before this age of the run of attempts
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
