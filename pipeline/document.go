package pipeline

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"platen"
	"platen/pdf"
	"platen/storage"
)

// newDocument is the beginning of a document that a caller of a scope makes.
func newDocument(scope storage.Scope, kind platen.Kind) platen.Document {
	return platen.Document{Record: platen.Record{AccountID: scope.AccountID, ID: platen.NewID(kind), Test: scope.TestOnly}}
}

// wishes are what a caller may ask for any document, besides what it is made of.
type wishes struct {
	metadata        json.RawMessage
	expireAfter     *int // seconds; nil: never
	password        *string
	presignedUpload *platen.PresignedUpload
}

// check gives a new document what was asked for, and says all that is wrong with it.
func (w wishes) check(document platen.AnyDocument, output platen.OutputKind) platen.Errors {
	var errs platen.Errors
	d := document.Common()
	d.Metadata = orEmpty(w.metadata)
	if w.expireAfter != nil {
		errs = append(errs, validateExpiry(*w.expireAfter, "expiresIn")...)
		d.ExpiresAt = new(time.Now().Add(time.Duration(*w.expireAfter) * time.Second).UTC().Truncate(time.Microsecond))
	}
	if w.password != nil {
		mistakes := platen.ValidatePassword(*w.password, output)
		if err := pdf.CheckPassword(*w.password); len(mistakes) == 0 && err != nil {
			mistakes.Add(platen.CodeInvalid, "This password cannot be used: "+err.Error()+".", "password")
		}
		errs = append(errs, mistakes...)
	}
	if w.presignedUpload != nil {
		errs = append(errs, w.presignedUpload.Validate(time.Now()).At("presignedUpload")...)
	}
	return errs
}

// seal encrypts what of it is secret.
func (p *Pipeline) seal(document platen.AnyDocument, w wishes) (err error) {
	d := document.Common()
	if w.presignedUpload != nil {
		if d.PresignedUpload, err = p.sealPresignedUpload(d.ID, *w.presignedUpload); err != nil {
			return err
		}
	}
	if w.password != nil {
		d.Password, err = p.Keyring.Encrypt([]byte(*w.password), passwordContext(d))
	}
	return err
}

// passwordContext binds an encrypted password to its document.
func passwordContext(d *platen.Document) string { return d.ID + " password" }

// orEmpty is an object of metadata, as it was sent or empty.
func orEmpty(metadata json.RawMessage) json.RawMessage {
	if len(metadata) == 0 || string(metadata) == "null" {
		return json.RawMessage("{}")
	}
	return metadata
}

func orZero[T any](value *T) (zero T) {
	if value != nil {
		return *value
	}
	return zero
}

func validateExpiry(seconds int, field string) platen.Errors {
	var errs platen.Errors
	if seconds < 1 || seconds > platen.MaxExpireAfter {
		errs.Add(platen.CodeInvalid, fmt.Sprintf("Give 1 to %d seconds, or null for never.", platen.MaxExpireAfter), field)
	}
	return errs
}

// work is a job that makes a document.
type work struct {
	*rivertype.JobRow
	accountID, documentID string
	stage                 platen.FailureStage
	took                  *prometheus.HistogramVec
	// do makes it. The error is a *platen.Failure when it says something about the
	// document; errNotYet when it is too early.
	do func(context.Context, platen.AnyDocument) (*platen.DocumentFile, error)
}

// make does such a job. It may run twice: a document that is final is left alone, and
// only the attempt that counts can commit. What goes wrong with the last attempt ends
// the document: nothing stays PENDING for ever.
func (p *Pipeline) make(ctx context.Context, w work) error {
	err, last := tried(ctx, w.JobRow, func() error { return p.tryToMake(ctx, w) })
	if !last {
		return err
	}
	failure := p.interrupted(ctx, w.stage, w.documentID, err)
	if err := p.finishWork(ctx, w, nil, failure, 0); err != nil && !errors.Is(err, errSettled) {
		return err
	}
	w.took.WithLabelValues(outcomeLabel(failure)).Observe(0)
	return nil
}

// errNotYet says that a document cannot be made yet, and that another job will be
// there once it can.
var errNotYet = errors.New("the document's sources are not finished yet")

func (p *Pipeline) tryToMake(ctx context.Context, w work) error {
	log := p.Log.With("document", w.documentID, "account", w.accountID, "attempt", w.Attempt)
	subject, err := p.DB.Subject(ctx, storage.Scope{AccountID: w.accountID}, w.documentID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return river.JobCancel(err)
	case err != nil:
		return err
	}
	d := subject.(platen.AnyDocument)
	if d.Common().State != platen.DocumentPending {
		return nil
	}
	start := time.Now()
	if failed := p.storeFailed.Load(); failed != nil && start.Sub(*failed) < storePause {
		return river.JobSnooze(storePause - start.Sub(*failed))
	}
	file, err := w.do(ctx, d)
	elapsed := time.Since(start)
	var failure *platen.Failure
	switch {
	case errors.Is(err, errNotYet):
		return nil
	case err != nil && !errors.As(err, &failure):
		log.WarnContext(ctx, "the work on a document was interrupted and will be tried again", "error", err)
		return err
	case errors.As(err, new(notKept)) && time.Since(d.Common().CreatedAt) < storePatience:
		return river.JobSnooze(storePause) // the log has it already
	case failure != nil && transient(failure) && faults(w.JobRow) < makeAttempts-1:
		log.WarnContext(ctx, "a document could not be made and will be tried again", "code", failure.Code, "error", failure.Message)
		return fault{failure}
	}
	if err := p.finishWork(ctx, w, file, failure, elapsed); err != nil {
		overtaken := errors.Is(err, errSettled) || errors.Is(err, storage.ErrFenced)
		if overtaken && file != nil {
			// Surely nobody names this copy. After any other error it may have been
			// committed all the same, and the sweep decides.
			_ = p.Blobs.Delete(context.WithoutCancel(ctx), file.BlobKey)
		}
		if errors.Is(err, errSettled) {
			log.InfoContext(ctx, "another attempt was first")
			return nil
		}
		// Fenced, the job is tried again and then finds what the other attempt did:
		// River would complete or cancel it under that one's feet.
		return err
	}
	w.took.WithLabelValues(outcomeLabel(failure)).Observe(elapsed.Seconds())
	if failure != nil {
		log.WarnContext(ctx, "document failed", "stage", failure.Stage, "code", failure.Code, "error", failure.Message)
	} else {
		log.InfoContext(ctx, "document processed", "ms", elapsed.Milliseconds(), "pages", file.PageCount, "bytes", file.ByteSize)
	}
	return nil
}

// makeAttempts bounds how often a document is tried for faults that are not its own, such
// as a browser that died. With makeRetry, four minutes.
const makeAttempts = 10

const (
	// storePatience is for how long after its request a document that is made is tried
	// to be stored: as long as deliveries are tried.
	storePatience = platen.DeliveryGiveUp
	// storePause is after how long that is tried again, and for how long nothing else is
	// made on the node: it could not be kept either.
	storePause = 5 * time.Second
)

// notKept is a failure to store a document that is made.
type notKept struct{ *platen.Failure }

func (n notKept) Unwrap() error { return n.Failure }

// fault is a failure of the machinery, as an error of a job: how many there were is read
// from the job, which also counts attempts that a node did not live to see the end of.
type fault struct{ *platen.Failure }

func (f fault) Error() string { return faultPrefix + f.Failure.Error() }
func (f fault) Unwrap() error { return f.Failure }

const faultPrefix = "fault: "

// faults is how many attempts of a job have come to a fault.
func faults(job *rivertype.JobRow) (n int) {
	for _, attempt := range job.Errors {
		if strings.HasPrefix(attempt.Error, faultPrefix) {
			n++
		}
	}
	return n
}

// makeRetry is the pause after an attempt: 1, 4, 9, ... seconds, a minute at most.
func makeRetry(attempt int) time.Duration {
	return min(time.Duration(attempt*attempt)*time.Second, time.Minute)
}

// transient tells whether a failure is of the machinery and not of the document, so
// that trying again by ourselves makes sense.
func transient(f *platen.Failure) bool {
	return f.Code == platen.FailureBrowserGone || f.Code == platen.FailureStorage || f.Stage == platen.StageCombine && f.Retryable
}

var errSettled = errors.New("the document is settled already")

// finishWork commits the outcome: the final state, the actions that follow with
// their jobs, the event that shows all of it, and the end of this job (R6.1).
func (p *Pipeline) finishWork(ctx context.Context, w work, file *platen.DocumentFile, failure *platen.Failure, elapsed time.Duration) error {
	err := p.DB.InTx(ctx, func(tx *storage.Tx) error {
		d, err := tx.LockDocument(ctx, w.accountID, w.documentID)
		if err != nil {
			return err
		}
		if d.Common().State != platen.DocumentPending {
			return errSettled
		}
		if err := tx.CompleteJob(ctx, w.ID, w.Attempt); err != nil {
			return err
		}
		d.Common().ProcessingTimeMS = new(int(elapsed.Milliseconds()))
		return p.finish(ctx, tx, d, file, failure)
	})
	if err == nil {
		p.Hub.Nudge()
	}
	return err
}

// finish gives a locked document its final state, with the actions that follow and
// their jobs, and lets begin who waited for nothing else.
func (p *Pipeline) finish(ctx context.Context, tx *storage.Tx, document platen.AnyDocument, file *platen.DocumentFile, failure *platen.Failure) error {
	d := document.Common()
	switch {
	case failure == nil:
		d.State, d.File, d.ProcessedAt = platen.DocumentProcessed, file, new(time.Now().UTC().Truncate(time.Microsecond))
	case failure.Code == platen.FailureDataInvalid:
		d.State, d.Failure = platen.DocumentInvalidData, failure
	default:
		d.State, d.Failure = platen.DocumentFailed, failure
	}
	actions, err := p.newActions(ctx, tx, document)
	if err != nil {
		return err
	}
	if err := tx.FinishDocument(ctx, document, actions); err != nil {
		return err
	}
	if err := p.insertDeliveries(ctx, tx, actions); err != nil {
		return err
	}
	if c, ok := document.(*platen.CombinedSubmission); ok {
		if err := tx.ForgetAddresses(ctx, c); err != nil {
			return err
		}
	}
	begin, err := tx.FinishedParts(ctx, document, failure == nil)
	if err != nil {
		return err
	}
	return p.insertCombines(ctx, tx, d.AccountID, begin)
}

// keep stores Platen's own copy of a document, and notes what it is. The error is a
// notKept when the storage refused it.
func (p *Pipeline) keep(ctx context.Context, id string, file *platen.DocumentFile, content []byte) error {
	sum, md5Sum := sha256.Sum256(content), md5.Sum(content) // MD5 is what buckets are told (delivery)
	file.ByteSize, file.SHA256, file.MD5 = int64(len(content)), hex.EncodeToString(sum[:]), hex.EncodeToString(md5Sum[:])
	err := p.Blobs.Put(ctx, file.BlobKey, bytes.NewReader(content), file.ByteSize, file.ContentType)
	if err == nil {
		p.storeFailed.Store(nil)
	}
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	p.storeFailed.Store(new(time.Now()))
	p.Log.ErrorContext(ctx, "storing a document failed", "document", id, "error", err)
	return notKept{&platen.Failure{Stage: platen.StageStore, Code: platen.FailureStorage, Retryable: true, OccurredAt: time.Now(),
		Message: "The finished document could not be stored for a day: the operator's storage refused it, or is full. The log says why."}}
}

// protect locks a PDF with its document's password, if it has one.
func (p *Pipeline) protect(ctx context.Context, stage platen.FailureStage, d *platen.Document, content []byte, file *platen.DocumentFile) ([]byte, error) {
	if d.Password == nil {
		return content, nil
	}
	password, err := p.Keyring.Decrypt(d.Password, passwordContext(d))
	if err != nil {
		p.Log.ErrorContext(ctx, "the password of a document cannot be decrypted", "document", d.ID, "error", err)
		return nil, &platen.Failure{Stage: stage, Code: platen.FailureSecretUnreadable, OccurredAt: time.Now(),
			Message: "The stored password cannot be decrypted: the operator's PLATEN_SECRET_KEY lacks the key it was encrypted with. Put that key back and send the document again."}
	}
	if content, err = p.PDF.Protect(ctx, content, string(password)); err != nil {
		return nil, pdfFailure(stage, err)
	}
	file.PasswordProtected = true
	return content, nil
}

func pdfFailure(stage platen.FailureStage, err error) error {
	var mistake *pdf.Error
	if !errors.As(err, &mistake) {
		return err
	}
	return &platen.Failure{Stage: stage, Code: platen.FailurePDFProcessing, OccurredAt: time.Now(),
		Message: "The PDF could not be finished: " + mistake.Message}
}

// Await returns a document when it has left PENDING, or as it is after the patience is
// over; the work goes on after that.
func Await[D platen.AnyDocument](ctx context.Context, p *Pipeline, d D, patience time.Duration) (D, error) {
	if d.Common().State != platen.DocumentPending || patience == 0 {
		return d, nil
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	scope := storage.Scope{AccountID: d.Common().AccountID}
	seen, err := p.Hub.Await(waiting, scope, d.Common().ID)
	if waiting.Err() != nil && ctx.Err() == nil {
		// The history can lag behind the rows: what counts is how it is now.
		now, err := p.DB.Subject(ctx, scope, d.Common().ID)
		if err != nil {
			return d, err
		}
		return now.(D), nil
	}
	if err != nil || seen == nil {
		return d, err
	}
	return seen.(D), nil
}
