package pipeline

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/riverqueue/river/rivertype"

	"platen"
)

// recovered runs f and makes an error of a panic in it, so that it can be settled
// as an error is.
func recovered(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}

// lastAttempt tells whether River gives the job up after this attempt. A node that
// is stopping is no reason to: River gives the attempt back.
func lastAttempt(ctx context.Context, job *rivertype.JobRow) bool {
	return job.Attempt >= job.MaxAttempts && ctx.Err() == nil
}

// interrupted is the failure of what was tried too often without an outcome; err is
// what the last attempt came to.
func (p *Pipeline) interrupted(ctx context.Context, stage platen.FailureStage, id string, err error) *platen.Failure {
	p.Log.ErrorContext(ctx, "work was given up after its last attempt", "stage", stage, "id", id, "error", err)
	message := "The work on the document was interrupted too often and was given up. The log says by what; once that is mended, send the document again."
	if stage == platen.StageDeliver {
		message = "The upload was interrupted too often; the log says by what."
	}
	return &platen.Failure{Stage: stage, Code: platen.FailureInterrupted, Retryable: true, OccurredAt: time.Now(), Message: message}
}
