package platen

import (
	"encoding/json"
	"time"
)

// FailureStage is the part of the work in which something failed (R3.2), so that
// a failed render and a failed upload can never be mistaken for one another.
type FailureStage string

// The stages, in the order in which a document goes through them.
const (
	StageValidate FailureStage = "VALIDATE"
	StageTemplate FailureStage = "TEMPLATE"
	StageAsset    FailureStage = "ASSET"
	StageRender   FailureStage = "RENDER"
	StageStore    FailureStage = "STORE"
	StageCombine  FailureStage = "COMBINE"
	StageDeliver  FailureStage = "DELIVER"
)

// FailureCode is the stable name of what failed. docs/failures.md lists all, with
// what to do about each.
type FailureCode string

// The failure codes. They are part of the API: never renamed, only added to.
const (
	// Stage VALIDATE.
	FailureDataInvalid FailureCode = "DATA_INVALID" // the data does not satisfy the template's JSON Schema
	FailureSchemaLimit FailureCode = "SCHEMA_LIMIT" // time or memory limit of the check against a JSON Schema

	// Stage TEMPLATE.
	FailureTemplateSyntax FailureCode = "TEMPLATE_SYNTAX" // the Liquid does not parse
	FailureTemplateRender FailureCode = "TEMPLATE_RENDER" // the Liquid fails with this data
	FailureTemplateLimit  FailureCode = "TEMPLATE_LIMIT"  // time, memory or output limit of a Liquid template

	// Stage ASSET.
	FailureEgressDenied FailureCode = "EGRESS_DENIED" // an address that may not be reached from here
	FailureAssetFailed  FailureCode = "ASSET_FAILED"  // an image, stylesheet, font or script did not load

	// Stage RENDER.
	FailureRenderTimeout FailureCode = "RENDER_TIMEOUT" // not ready within the page setting's timeout
	FailureRenderCrashed FailureCode = "RENDER_CRASHED" // the page ran out of memory or crashed
	FailureRenderFailed  FailureCode = "RENDER_FAILED"  // the browser refused to print
	FailureBrowserGone   FailureCode = "BROWSER_GONE"   // the browser ended under the render
	FailureDocumentLimit FailureCode = "DOCUMENT_LIMIT" // the result is larger than a document may be
	FailurePDFProcessing FailureCode = "PDF_PROCESSING" // the finished PDF could not be marked or inspected
	FailureExpired       FailureCode = "EXPIRED"        // it was expired before it was done
	FailureInterrupted   FailureCode = "INTERRUPTED"    // the work was cut off too often: nodes died under it, or Platen has a fault

	// Stage STORE.
	FailureStorage FailureCode = "STORAGE_FAILED" // Platen's own copy could not be written or read

	// Stage COMBINE. Of an address, the codes of connections below appear as well.
	FailureSourceFailed      FailureCode = "SOURCE_FAILED"      // a document among the sources could not be made
	FailureSourceExpired     FailureCode = "SOURCE_EXPIRED"     // a source's copy is no longer there
	FailureSourceDamaged     FailureCode = "SOURCE_DAMAGED"     // a source is no PDF that can be read
	FailureSourceEncrypted   FailureCode = "SOURCE_ENCRYPTED"   // a source needs a password, or forbids to be combined
	FailureSourceTooLarge    FailureCode = "SOURCE_TOO_LARGE"   // a source has more bytes or pages, or is more complicated, than can be dealt with
	FailureSourceUnavailable FailureCode = "SOURCE_UNAVAILABLE" // the server of an address did not give the file

	// Stage DELIVER.
	FailureKeyInvalid         FailureCode = "KEY_INVALID"           // the path template gave no legal object key (R5.6)
	FailureFileTooLarge       FailureCode = "FILE_TOO_LARGE"        // larger than one PutObject may be (R5.8)
	FailureAccessDenied       FailureCode = "ACCESS_DENIED"         // the credentials may not PutObject there
	FailureInvalidAccessKey   FailureCode = "INVALID_ACCESS_KEY"    // the storage does not know the access key id
	FailureSignatureMismatch  FailureCode = "SIGNATURE_MISMATCH"    // the secret access key is not the one of that id
	FailureCredentialsExpired FailureCode = "CREDENTIALS_EXPIRED"   // temporary credentials ran out
	FailureNoSuchBucket       FailureCode = "NO_SUCH_BUCKET"        // no bucket of that name
	FailureWrongRegion        FailureCode = "WRONG_REGION"          // the bucket is in another region
	FailureTLS                FailureCode = "TLS_FAILED"            // the endpoint's certificate is not valid, or it speaks no TLS
	FailureHostNotFound       FailureCode = "HOST_NOT_FOUND"        // the endpoint's name does not resolve
	FailureNotAnS3Endpoint    FailureCode = "NOT_AN_S3_ENDPOINT"    // it answered, but not as S3 does
	FailureRedirected         FailureCode = "REDIRECTED"            // it points elsewhere, where no document is sent unasked
	FailurePresignedExpired   FailureCode = "PRESIGNED_URL_EXPIRED" // the presigned URL's time is over
	FailureWebhookRefused     FailureCode = "WEBHOOK_REFUSED"       // the receiver answered, but not with 2xx
	FailureIntegrationDeleted FailureCode = "INTEGRATION_DELETED"   // the integration was deleted before it was done
	FailureRequestRejected    FailureCode = "REQUEST_REJECTED"      // any other lasting refusal; see providerCode
	FailureStorageUnavailable FailureCode = "STORAGE_UNAVAILABLE"   // 5xx, SlowDown and their like: tried again
	FailureConnectionFailed   FailureCode = "CONNECTION_FAILED"     // refused, reset or cut off: tried again
	FailureTimeout            FailureCode = "TIMEOUT"               // no answer in time: tried again
	FailureSecretUnreadable   FailureCode = "SECRET_UNREADABLE"     // the stored secret cannot be decrypted with this node's keys
)

// Failure says why a document could not be made or delivered, in a form fit for
// people and for programs. It is data of the API, not an error of it (R3.2).
type Failure struct {
	Stage   FailureStage `json:"stage"`
	Code    FailureCode  `json:"code"`
	Message string       `json:"message"` // what happened and what to do about it
	// Retryable tells whether the same request can succeed later.
	Retryable    bool            `json:"retryable"`
	OccurredAt   time.Time       `json:"occurredAt"`
	Path         []string        `json:"path,omitempty"`         // the part that failed, e.g. headerHtml
	Line         int             `json:"line,omitempty"`         // 1-based in the Liquid source; 0: unknown
	Column       int             `json:"column,omitempty"`       // 1-based, in characters; 0: unknown
	ProviderCode string          `json:"providerCode,omitempty"` // the storage's own code
	Details      json.RawMessage `json:"details,omitempty"`      // failed addresses, HTTP status, request id
	// DataErrors are the violations of the template's JSON Schema, of INVALID_DATA.
	DataErrors []DataError `json:"dataErrors,omitempty"`
}

// DataError is one violation of a JSON Schema by a submission's data.
type DataError struct {
	Pointer string `json:"pointer"` // into the data (RFC 6901); "" is the whole
	Keyword string `json:"keyword"` // of the schema, such as required
	Message string `json:"message"`
}

// Error makes a Failure an error, so that the rooms that do the work can return it.
func (f *Failure) Error() string {
	return string(f.Stage) + " " + string(f.Code) + ": " + f.Message
}
