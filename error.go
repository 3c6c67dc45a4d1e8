package platen

import "strings"

// ErrorCode says what kind of mistake a caller made. Each is documented in the
// schema's enum UserErrorCode, and a test compares the two.
type ErrorCode string

// The codes of expected failures of a mutation.
const (
	CodeRequired            ErrorCode = "REQUIRED"
	CodeInvalid             ErrorCode = "INVALID"
	CodeTooLong             ErrorCode = "TOO_LONG"
	CodeTooLarge            ErrorCode = "TOO_LARGE"
	CodeNotFound            ErrorCode = "NOT_FOUND"
	CodeForbidden           ErrorCode = "FORBIDDEN"
	CodeConflict            ErrorCode = "CONFLICT"
	CodeKeyReused           ErrorCode = "IDEMPOTENCY_KEY_REUSED"
	CodePathTemplateInvalid ErrorCode = "PATH_TEMPLATE_INVALID"
	CodeTemplateInvalid     ErrorCode = "TEMPLATE_INVALID"
	CodeQueueFull           ErrorCode = "QUEUE_FULL"
)

// Error is one mistake that the caller can understand and act on.
type Error struct {
	Code    ErrorCode
	Message string   // shown to the caller: what is wrong, and what to do
	Path    []string // where in the arguments, e.g. input, content, html
	ID      string   // of the object that was not found
	Line    int      // in the Liquid source, 1-based
	Column  int      // in characters, 1-based
	// RetryAfter is in how many seconds to try again what was refused because too much waits.
	RetryAfter int
}

func (e *Error) Error() string {
	if len(e.Path) == 0 {
		return e.Message
	}
	return strings.Join(e.Path, ".") + ": " + e.Message
}

// Errors are all the mistakes of one request, so that a form can show them at once.
type Errors []*Error

func (e Errors) Error() string {
	messages := make([]string, len(e))
	for i, one := range e {
		messages[i] = one.Error()
	}
	return strings.Join(messages, "; ")
}

// Err returns the errors as an error, or nil when there are none.
func (e Errors) Err() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// Add appends one mistake at path.
func (e *Errors) Add(code ErrorCode, message string, path ...string) {
	*e = append(*e, &Error{Code: code, Message: message, Path: path})
}

// At returns the errors with their paths moved below prefix: the vocabulary names
// fields, the edge knows where in its arguments they stood.
func (e Errors) At(prefix ...string) Errors {
	for _, one := range e {
		one.Path = append(append([]string{}, prefix...), one.Path...)
	}
	return e
}
