package pipeline

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/riverqueue/river"
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

// errBegunTooOften is what a job comes to that was begun so often that it must be what
// ends the nodes that begin it.
var errBegunTooOften = errors.New("the nodes that began it came to no end of it")

// tried runs one attempt of a job, unless there were too many before. last tells whether
// the job is to be given up with the error. A node that is stopping is no reason to, and
// neither is a job that only waits: both spend no attempt.
func tried(ctx context.Context, job *rivertype.JobRow, f func() error) (err error, last bool) {
	if job.Attempt > maxAttempts {
		return errBegunTooOften, true
	}
	err = recovered(f)
	return err, err != nil && job.Attempt == maxAttempts && ctx.Err() == nil && !errors.As(err, new(*river.JobSnoozeError))
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
