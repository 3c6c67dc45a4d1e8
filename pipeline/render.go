package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"platen"
	"platen/jsonschema"
	"platen/liquid"
	"platen/pdf"
	"platen/renderer"
)

// renderArgs name the submission to render.
type renderArgs struct {
	AccountID    string `json:"account_id"`
	SubmissionID string `json:"submission_id"`
}

func (renderArgs) Kind() string { return "render_submission" }

func (renderArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: queueRender} }

type renderWorker struct {
	river.WorkerDefaults[renderArgs]
	pipeline *Pipeline
}

func (w *renderWorker) NextRetry(job *river.Job[renderArgs]) time.Time {
	return time.Now().Add(makeRetry(job.Attempt))
}

// Work renders one submission.
func (w *renderWorker) Work(ctx context.Context, job *river.Job[renderArgs]) error {
	return w.pipeline.make(ctx, work{JobRow: job.JobRow, accountID: job.Args.AccountID, documentID: job.Args.SubmissionID, stage: platen.StageRender,
		took: w.pipeline.metrics.renders,
		do: func(ctx context.Context, d platen.AnyDocument) (*platen.DocumentFile, error) {
			return w.pipeline.render(ctx, d.(*platen.Submission), job.Attempt)
		}})
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
	file := &platen.DocumentFile{ContentType: s.Output.ContentType(), BlobKey: blobKey(s.ID, attempt, s.Extension())}
	if s.Output == platen.OutputPDF {
		if content, err = p.finishPDF(ctx, s, content, file); err != nil {
			return nil, err
		}
	}
	return file, p.keep(ctx, s.ID, file, content)
}

// finishPDF counts the pages of a printed PDF, marks that of a test, and then locks it
// with its password: what is locked can neither be counted nor marked.
func (p *Pipeline) finishPDF(ctx context.Context, s *platen.Submission, content []byte, file *platen.DocumentFile) ([]byte, error) {
	var info pdf.Info
	var err error
	if s.Test {
		content, info, err = p.PDF.Watermark(ctx, content, watermark)
	} else {
		info.Pages, err = p.PDF.Pages(ctx, content)
	}
	if err != nil {
		return nil, pdfFailure(platen.StageRender, err)
	}
	file.PageCount = info.Pages
	return p.protect(ctx, platen.StageRender, &s.Document, content, file)
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
			panic(fmt.Sprintf("a string does not marshal: %v", err))
		}
		variables[name] = text
	}
	variables["data"] = s.Data
	variables["metadata"] = s.Metadata
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

func schemaFailure(err error) error {
	var mistake *jsonschema.Error
	if !errors.As(err, &mistake) {
		return err
	}
	return &platen.Failure{Stage: platen.StageValidate, Code: platen.FailureSchemaLimit, OccurredAt: time.Now(),
		Message: "The data could not be checked against the template's schema: " + mistake.Message}
}
