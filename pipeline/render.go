package pipeline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"

	"platen"
	"platen/jsonschema"
	"platen/liquid"
	"platen/pdf"
	"platen/renderer"
	"platen/storage"
)

// renderArgs name the submission to render.
type renderArgs struct {
	AccountID    string `json:"account_id"`
	SubmissionID string `json:"submission_id"`
}

func (renderArgs) Kind() string { return "render_submission" }

func (renderArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: queueRender} }

// renderAttempts bounds how often a document is tried again for faults that are not
// its own: a browser that died, a disk that was full. With renderRetry, four minutes.
const renderAttempts = 10

// renderRetry is the pause after an attempt: 1, 4, 9, ... seconds, a minute at most.
func renderRetry(attempt int) time.Duration {
	return min(time.Duration(attempt*attempt)*time.Second, time.Minute)
}

type renderWorker struct {
	river.WorkerDefaults[renderArgs]
	pipeline *Pipeline
}

func (w *renderWorker) NextRetry(job *river.Job[renderArgs]) time.Time {
	return time.Now().Add(renderRetry(job.Attempt))
}

// Work renders one submission. It may run twice: a submission that is final is left
// alone, and only the attempt that counts can commit. What goes wrong with the last
// attempt ends the submission: nothing stays PENDING for ever.
func (w *renderWorker) Work(ctx context.Context, job *river.Job[renderArgs]) error {
	err := recovered(func() error { return w.work(ctx, job) })
	if err == nil || !lastAttempt(ctx, job.JobRow) {
		return err
	}
	failure := w.pipeline.interrupted(ctx, platen.StageRender, job.Args.SubmissionID, err)
	if err := w.pipeline.finishRender(ctx, job, nil, failure, 0); err != nil && !errors.Is(err, errSettled) {
		return err
	}
	w.pipeline.metrics.rendered(failure, 0)
	return nil
}

func (w *renderWorker) work(ctx context.Context, job *river.Job[renderArgs]) error {
	p := w.pipeline
	log := p.Log.With("submission", job.Args.SubmissionID, "account", job.Args.AccountID, "attempt", job.Attempt)
	s, err := p.DB.Submission(ctx, storage.Scope{AccountID: job.Args.AccountID}, job.Args.SubmissionID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return river.JobCancel(err)
	case err != nil:
		return err
	case s.State != platen.DocumentPending:
		return nil
	}
	start := time.Now()
	file, err := p.render(ctx, s, job.Attempt)
	elapsed := time.Since(start)
	var failure *platen.Failure
	if err != nil && !errors.As(err, &failure) {
		log.WarnContext(ctx, "rendering was interrupted and will be tried again", "error", err)
		return err
	}
	if failure != nil && transient(failure) && job.Attempt < renderAttempts {
		log.WarnContext(ctx, "rendering failed and will be tried again", "code", failure.Code, "error", failure.Message)
		return failure
	}
	if err := p.finishRender(ctx, job, file, failure, elapsed); err != nil {
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
	p.metrics.rendered(failure, elapsed)
	if failure != nil {
		log.WarnContext(ctx, "document failed", "stage", failure.Stage, "code", failure.Code, "error", failure.Message)
	} else {
		log.InfoContext(ctx, "document processed", "ms", elapsed.Milliseconds(), "pages", file.PageCount, "bytes", file.ByteSize)
	}
	return nil
}

// transient tells whether a failure is of the machinery and not of the document, so
// that trying again by ourselves makes sense.
func transient(f *platen.Failure) bool {
	return f.Code == platen.FailureBrowserGone || f.Code == platen.FailureStorage
}

var errSettled = errors.New("the document is settled already")

// finishRender commits the outcome: the final state, the actions that follow with
// their jobs, the event that shows all of it, and the end of this job (R6.1).
func (p *Pipeline) finishRender(ctx context.Context, job *river.Job[renderArgs], file *platen.DocumentFile, failure *platen.Failure, elapsed time.Duration) error {
	err := p.DB.InTx(ctx, func(tx *storage.Tx) error {
		s, err := tx.LockSubmission(ctx, job.Args.AccountID, job.Args.SubmissionID)
		if err != nil {
			return err
		}
		if s.State != platen.DocumentPending {
			return errSettled
		}
		if err := tx.Fence(ctx, job.ID, job.Attempt); err != nil {
			return err
		}
		ms := int(elapsed.Milliseconds())
		s.ProcessingTimeMS = &ms
		if err := p.finish(ctx, tx, s, file, failure); err != nil {
			return err
		}
		_, err = river.JobCompleteTx[*riverdatabasesql.Driver](ctx, tx.SQL(), job)
		return err
	})
	if err == nil {
		p.Hub.Nudge()
	}
	return err
}

// finish gives a locked submission its final state, with the actions that follow and
// their jobs.
func (p *Pipeline) finish(ctx context.Context, tx *storage.Tx, s *platen.Submission, file *platen.DocumentFile, failure *platen.Failure) error {
	switch {
	case failure == nil:
		now := time.Now().UTC().Truncate(time.Microsecond)
		s.State, s.File, s.ProcessedAt = platen.DocumentProcessed, file, &now
	case failure.Code == platen.FailureDataInvalid:
		s.State, s.Failure = platen.DocumentInvalidData, failure
	default:
		s.State, s.Failure = platen.DocumentFailed, failure
	}
	actions, err := p.newActions(ctx, tx, s)
	if err != nil {
		return err
	}
	if err := tx.FinishSubmission(ctx, s, actions); err != nil {
		return err
	}
	return p.insertDeliveries(ctx, tx, actions)
}

// watermark is what test documents are marked with (R3.5).
const watermark = "TEST"

// render makes the document and stores Platen's own copy of it. The error is a
// *platen.Failure when it says something about the document.
func (p *Pipeline) render(ctx context.Context, s *platen.Submission, attempt int) (*platen.DocumentFile, error) {
	if err := p.DB.SubmissionContent(ctx, s); err != nil {
		return nil, err
	}
	if s.Content == nil {
		// Where it was expired meanwhile, the next attempt finds it settled.
		return nil, errors.New("nothing is left of what the document is made of")
	}
	if err := p.checkData(ctx, s); err != nil {
		return nil, err
	}
	texts, err := p.Liquid.Render(ctx, s.TemplateVersionID, sources(*s.Content), liquidVariables(s))
	if err != nil {
		return nil, templateFailure(err)
	}
	page := renderer.Page{Account: s.AccountID, HTML: texts["html"], CSS: s.Content.CSS, URL: s.URL,
		HeaderHTML: texts["headerHtml"], FooterHTML: texts["footerHtml"], Settings: s.Content.Page, Output: s.Output}
	if s.Screenshot != nil {
		page.Screenshot = *s.Screenshot
	}
	if s.Test {
		page.Watermark = watermark
	}
	result, err := p.Renderer.Render(ctx, page)
	if err != nil {
		return nil, err
	}
	content := result.Content
	file := &platen.DocumentFile{ContentType: s.Output.ContentType(), BlobKey: blobKey(s.ID, attempt, s.Output)}
	if s.Output == platen.OutputPDF {
		if content, err = p.finishPDF(ctx, s, content, file); err != nil {
			return nil, err
		}
	}
	sum := sha256.Sum256(content)
	file.ByteSize, file.SHA256 = int64(len(content)), hex.EncodeToString(sum[:])
	if err := p.Blobs.Put(ctx, file.BlobKey, bytes.NewReader(content), file.ByteSize, file.ContentType); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		p.Log.ErrorContext(ctx, "storing a document failed", "submission", s.ID, "error", err)
		return nil, &platen.Failure{Stage: platen.StageStore, Code: platen.FailureStorage, Retryable: true, OccurredAt: time.Now(),
			Message: "The finished document could not be stored: the operator's storage refused it, or is full. The log says why."}
	}
	return file, nil
}

// finishPDF counts the pages of a printed PDF, marks that of a test, and then locks it
// with its password: what is locked can neither be counted nor marked.
func (p *Pipeline) finishPDF(ctx context.Context, s *platen.Submission, content []byte, file *platen.DocumentFile) ([]byte, error) {
	var info pdf.Info
	var err error
	if s.Test {
		content, info, err = p.PDF.Watermark(ctx, content, watermark)
	} else {
		info, err = p.PDF.Inspect(ctx, content)
	}
	if err != nil {
		return nil, pdfFailure(err)
	}
	file.PageCount = info.Pages
	if s.Password == nil {
		return content, nil
	}
	password, err := p.Keyring.Decrypt(s.Password, passwordContext(s))
	if err != nil {
		p.Log.ErrorContext(ctx, "the password of a document cannot be decrypted", "submission", s.ID, "error", err)
		return nil, &platen.Failure{Stage: platen.StageRender, Code: platen.FailureSecretUnreadable, OccurredAt: time.Now(),
			Message: "The stored password cannot be decrypted: the operator's PLATEN_SECRET_KEY lacks the key it was encrypted with. Put that key back and send the document again."}
	}
	if content, err = p.PDF.Protect(ctx, content, string(password)); err != nil {
		return nil, pdfFailure(err)
	}
	file.PasswordProtected = true
	return content, nil
}

// checkData ends a submission whose data does not satisfy its template's JSON Schema,
// before any work of the browser (R2.4).
func (p *Pipeline) checkData(ctx context.Context, s *platen.Submission) error {
	if s.Content.Schema == nil {
		return nil
	}
	violations, err := p.Schemas.Validate(ctx, s.Content.Schema, s.Data)
	if err != nil {
		return schemaFailure(err)
	}
	if len(violations) == 0 {
		return nil
	}
	failure := &platen.Failure{Stage: platen.StageValidate, Code: platen.FailureDataInvalid, OccurredAt: time.Now()}
	for _, v := range violations {
		failure.DataErrors = append(failure.DataErrors, platen.DataError{Pointer: v.Pointer, Keyword: v.Keyword, Message: v.Message})
	}
	first := failure.DataErrors[0]
	failure.Message = fmt.Sprintf("The data does not satisfy the template's schema: at %q it %s.", first.Pointer, first.Message)
	if more := len(violations) - 1; more > 0 {
		failure.Message += fmt.Sprintf(" There are %d more mistakes: see dataErrors.", more)
	}
	return failure
}

// liquidVariables are what the sources see: the keys of data by themselves, and over
// them the names that are Platen's own.
func liquidVariables(s *platen.Submission) json.RawMessage {
	var variables map[string]json.RawMessage
	if json.Unmarshal(s.Data, &variables) != nil || variables == nil {
		variables = map[string]json.RawMessage{} // data that is no object is seen as data alone
	}
	set := func(name string, value any) {
		text, err := json.Marshal(value)
		if err != nil {
			panic(fmt.Sprintf("a string or a raw message does not marshal: %v", err))
		}
		variables[name] = text
	}
	set("data", s.Data)
	set("metadata", s.Metadata)
	set("submission_id", s.ID)
	templateID, templateName, templateVersion := templateNames(s)
	set("template_id", templateID)
	set("template_name", templateName)
	set("template_version", templateVersion)
	text, err := json.Marshal(variables)
	if err != nil {
		panic(fmt.Sprintf("raw messages do not marshal: %v", err))
	}
	return text
}

// templateNames are a submission's template id, name and version as Liquid sees
// them, in documents and in path templates (R5.4).
func templateNames(s *platen.Submission) (id, name, version string) {
	switch s.Source {
	case platen.SourceHTML:
		return "html", "html", "0"
	case platen.SourceURL:
		return "url", "url", "0"
	case platen.SourceDraft:
		return s.TemplateID, s.TemplateName, "draft"
	}
	return s.TemplateID, s.TemplateName, fmt.Sprint(s.TemplateVersionNumber)
}

func templateFailure(err error) error {
	var mistake *liquid.Error
	if !errors.As(err, &mistake) {
		return err
	}
	failure := &platen.Failure{Stage: platen.StageTemplate, Code: platen.FailureTemplateRender, Message: mistake.Message,
		OccurredAt: time.Now(), Line: mistake.Line, Column: mistake.Column}
	if mistake.Source != "" {
		failure.Path = []string{mistake.Source}
	}
	switch mistake.Kind {
	case liquid.Syntax:
		failure.Code = platen.FailureTemplateSyntax
	case liquid.Limit:
		failure.Code = platen.FailureTemplateLimit
	}
	return failure
}

func pdfFailure(err error) error {
	var mistake *pdf.Error
	if !errors.As(err, &mistake) {
		return err
	}
	return &platen.Failure{Stage: platen.StageRender, Code: platen.FailurePDFProcessing, OccurredAt: time.Now(),
		Message: "The printed PDF could not be finished: " + mistake.Message}
}

func schemaFailure(err error) error {
	var mistake *jsonschema.Error
	if !errors.As(err, &mistake) {
		return err
	}
	return &platen.Failure{Stage: platen.StageValidate, Code: platen.FailureSchemaLimit, OccurredAt: time.Now(),
		Message: "The data could not be checked against the template's schema: " + mistake.Message}
}
