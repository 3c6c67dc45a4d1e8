package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"platen"
	"platen/pdf"
	"platen/storage"
	"platen/storage/blob"
)

// combineArgs name the combined submission to merge.
type combineArgs struct {
	AccountID            string `json:"account_id"`
	CombinedSubmissionID string `json:"combined_submission_id"`
}

func (combineArgs) Kind() string { return "combine_submissions" }

func (combineArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: queueCombine} }

// insertCombines inserts the jobs of combined submissions that can begin, behind those of
// accounts that have fewer: addresses that never answer keep a worker for a minute each.
func (p *Pipeline) insertCombines(ctx context.Context, tx *storage.Tx, accountID string, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	ready, err := tx.CountReady(ctx, accountID, priorities[len(priorities)-1]+len(ids))
	if err != nil {
		return err
	}
	jobs := make([]river.InsertManyParams, len(ids))
	for i, id := range ids {
		jobs[i] = river.InsertManyParams{Args: combineArgs{AccountID: accountID, CombinedSubmissionID: id},
			InsertOpts: &river.InsertOpts{Priority: priority(max(0, ready-len(ids)) + i)}}
	}
	_, err = p.river.InsertManyFastTx(ctx, tx.SQL(), jobs)
	return err
}

type combineWorker struct {
	river.WorkerDefaults[combineArgs]
	pipeline *Pipeline
}

// Timeout implements river.Worker: addresses can be slow, and then other merges first.
func (w *combineWorker) Timeout(*river.Job[combineArgs]) time.Duration { return combineTimeout }

func (w *combineWorker) NextRetry(job *river.Job[combineArgs]) time.Time {
	return time.Now().Add(makeRetry(job.Attempt))
}

// Work merges one combined submission, and then deletes what was made for it alone.
func (w *combineWorker) Work(ctx context.Context, job *river.Job[combineArgs]) error {
	err := w.pipeline.make(ctx, work{JobRow: job.JobRow, accountID: job.Args.AccountID, documentID: job.Args.CombinedSubmissionID, stage: platen.StageCombine,
		took: w.pipeline.metrics.combines,
		do: func(ctx context.Context, d platen.AnyDocument) (*platen.DocumentFile, error) {
			return w.pipeline.merge(ctx, d.(*platen.CombinedSubmission), job.Attempt)
		}})
	if err == nil {
		w.pipeline.dropParts(ctx, job.Args.AccountID, job.Args.CombinedSubmissionID)
	}
	return err
}

// dropParts deletes what was made of templates' versions for a combined submission that
// is settled. What cannot be deleted now is found when partLife is over.
func (p *Pipeline) dropParts(ctx context.Context, accountID, id string) {
	c, err := p.DB.CombinedSubmission(ctx, storage.Scope{AccountID: accountID}, id)
	if err == nil && c.State == platen.DocumentPending {
		return
	}
	var sources map[string][]*platen.CombinedSource
	if err == nil {
		sources, err = p.DB.CombinedSources(ctx, accountID, []string{id})
	}
	if err != nil {
		p.Log.WarnContext(ctx, "the parts of a combined document are left to expire", "document", id, "error", err)
		return
	}
	for _, source := range sources[id] {
		if source.TemplateVersionID == "" {
			continue
		}
		if _, err := p.expire(ctx, accountID, source.DocumentID, func(*platen.Document) bool { return true }); err != nil && !errors.Is(err, storage.ErrNotFound) {
			p.Log.WarnContext(ctx, "a part of a combined document is left to expire", "document", source.DocumentID, "error", err)
		}
	}
}

// part is a source on its way into the merge.
type part struct {
	title   string
	own     bool     // its file's own title is better
	marked  bool     // as a test, already
	copyKey string   // of Platen's own copy
	fetched *os.File // from an address
}

// read brings a part into memory.
func (p *Pipeline) read(ctx context.Context, one part) ([]byte, error) {
	if one.fetched != nil {
		if _, err := one.fetched.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		return io.ReadAll(one.fetched)
	}
	content, err := p.Blobs.Open(ctx, one.copyKey)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	return io.ReadAll(content)
}

// unnamedFile is a file that nothing can stay of.
func unnamedFile() (*os.File, error) {
	file, err := os.CreateTemp("", "platen-*")
	if err != nil {
		return nil, err
	}
	return file, os.Remove(file.Name())
}

// merge makes the document and stores Platen's own copy of it (R4.2). The error is a
// *platen.Failure when it says something about the document.
func (p *Pipeline) merge(ctx context.Context, c *platen.CombinedSubmission, attempt int) (*platen.DocumentFile, error) {
	if err := p.DB.CombinedInputs(ctx, c); err != nil {
		return nil, err
	}
	parts, err := p.parts(ctx, c)
	defer func() {
		for _, one := range parts {
			if one.fetched != nil {
				one.fetched.Close()
			}
		}
	}()
	if err != nil {
		return nil, err
	}
	// Servers that answer slowly keep none of the others waiting; memory and processors
	// are for few at a time, and for none too long.
	select {
	case p.merging <- struct{}{}:
		defer func() { <-p.merging }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	inTime, cancel := context.WithTimeout(ctx, p.MergeTime)
	defer cancel()
	file, err := p.mergeParts(inTime, c, parts, attempt)
	if err != nil && inTime.Err() != nil && ctx.Err() == nil {
		return nil, combineFailure(platen.FailureDocumentLimit, fmt.Sprintf("The sources need more than %v of work. Combine fewer of them, or simpler ones.", p.MergeTime))
	}
	return file, err
}

// mergeParts is the work on a merge that takes memory and processors.
func (p *Pipeline) mergeParts(ctx context.Context, c *platen.CombinedSubmission, parts []part, attempt int) (*platen.DocumentFile, error) {
	merged := make([]pdf.Part, len(parts))
	for i, one := range parts {
		content, err := p.read(ctx, one)
		if err != nil {
			return nil, p.unreadablePart(ctx, c, i, err)
		}
		if c.Test && !one.marked {
			if content, _, err = p.PDF.Watermark(ctx, content, watermark); err != nil {
				return nil, sourceFailure(i, err)
			}
		}
		merged[i] = pdf.Part{Title: one.title, OwnTitle: one.own, File: content}
	}
	content, info, err := p.PDF.Merge(ctx, merged)
	if err != nil {
		return nil, mergeFailure(err)
	}
	file := &platen.DocumentFile{ContentType: platen.OutputPDF.ContentType(), PageCount: info.Pages, BlobKey: blobKey(c.ID, attempt, c.Extension())}
	if content, err = p.protect(ctx, platen.StageCombine, &c.Document, content, file); err != nil {
		return nil, err
	}
	return file, p.keep(ctx, c.ID, file, content)
}

// parts finds the files of all sources, and fetches those of addresses. Whatever is wrong
// with one is found in the order of the sources; a document that failed ends the whole
// although others are still to come.
func (p *Pipeline) parts(ctx context.Context, c *platen.CombinedSubmission) ([]part, error) {
	scope := storage.Scope{AccountID: c.AccountID}
	var documentIDs, uploadIDs []string
	for _, source := range c.Sources {
		if source.DocumentID != "" {
			documentIDs = append(documentIDs, source.DocumentID)
		} else if source.UploadID != "" {
			uploadIDs = append(uploadIDs, source.UploadID)
		}
	}
	documents, err := p.DB.DocumentsByID(ctx, scope, documentIDs)
	if err != nil {
		return nil, err
	}
	uploads, err := p.DB.UploadsByID(ctx, scope, uploadIDs)
	if err != nil {
		return nil, err
	}
	parts := make([]part, len(c.Sources))
	var size int64
	pending := c.Waiting > 0
	for i, source := range c.Sources {
		switch {
		case source.DocumentID != "":
			document := documents[source.DocumentID]
			file, err := usable(i, source, document)
			if err != nil {
				return nil, err
			}
			if file == nil {
				pending = true
				continue
			}
			parts[i] = part{own: true, marked: document.Common().Test, copyKey: file.BlobKey}
			if s, ok := document.(*platen.Submission); ok {
				parts[i].title = s.TemplateName
			}
			size += file.ByteSize
		case source.UploadID != "":
			u := uploads[source.UploadID]
			if u == nil || u.BlobKey == "" {
				return nil, sourceProblem(i, platen.FailureSourceExpired, "the upload has expired and its bytes are deleted. Upload the file again.")
			}
			parts[i] = part{title: strings.TrimSuffix(u.Filename, ".pdf"), copyKey: u.BlobKey}
			size += u.ByteSize
		default:
			parts[i] = part{title: titleOf(source.URL)}
		}
	}
	if pending {
		return nil, errNotYet
	}
	if size > pdf.MaxMerge {
		return nil, combineFailure(platen.FailureDocumentLimit, fmt.Sprintf("The sources have %d bytes together; at most %d can be combined at a time.", size, pdf.MaxMerge))
	}
	return parts, p.fetch(ctx, c, parts, size)
}

// usable is the file of a document among the sources; nil while it is PENDING.
func usable(index int, source *platen.CombinedSource, document platen.AnyDocument) (*platen.DocumentFile, error) {
	if document == nil {
		return nil, sourceProblem(index, platen.FailureSourceExpired, "what was made of the template's version was deleted before the others were there. Combine again.")
	}
	d := document.Common()
	id, name := d.ID, d.ID
	if source.TemplateVersionID != "" {
		id, name = source.TemplateVersionID, "the template's version with its sample data"
	}
	switch {
	case d.Failure != nil:
		failure := sourceProblem(index, platen.FailureSourceFailed, fmt.Sprintf("%s is %s: %s", name, d.State, d.Failure.Message))
		failure.Details, _ = json.Marshal(map[string]any{"sourceId": id, "sourceStage": d.Failure.Stage, "sourceCode": d.Failure.Code})
		return nil, failure
	case d.ExpiredAt != nil:
		return nil, sourceProblem(index, platen.FailureSourceExpired, name+" has expired, so its copy is deleted. Make it again, and combine again.")
	case d.File == nil:
		return nil, nil
	case d.File.PasswordProtected:
		return nil, sourceProblem(index, platen.FailureSourceEncrypted, name+" has a password. Make it without, and give the password to the combined submission.")
	}
	return d.File, nil
}

// unreadablePart says why the copy of a source cannot be read: it expired meanwhile,
// which another look will tell, or the storage fails.
func (p *Pipeline) unreadablePart(ctx context.Context, c *platen.CombinedSubmission, index int, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p.Log.WarnContext(ctx, "the copy of a source cannot be read", "document", c.ID, "source", index, "error", err)
	failure := sourceProblem(index, platen.FailureStorage, "Platen's own copy of it cannot be read. The log says why.")
	// Tried again, a source that expired meanwhile is found to be so.
	failure.Stage, failure.Retryable = platen.StageStore, !errors.Is(err, blob.ErrNotFound)
	return failure
}

const (
	// fetches is how many addresses are fetched at a time for one document.
	fetches = 4
	// fetchTime bounds the fetching of all of them.
	fetchTime = 3 * time.Minute
)

// fetch gets the files of the addresses among the sources. size is what the others have
// together.
func (p *Pipeline) fetch(whole context.Context, c *platen.CombinedSubmission, parts []part, size int64) error {
	deadline, cancelAll := context.WithTimeout(whole, fetchTime)
	defer cancelAll()
	ctx, cancel := context.WithCancel(deadline)
	defer cancel()
	errs := make([]error, len(parts))
	var mu sync.Mutex // over size
	var wg sync.WaitGroup
	free := make(chan struct{}, fetches)
	for i, source := range c.Sources {
		if source.URL == "" {
			continue
		}
		free <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-free }()
			var n int64
			parts[i].fetched, n, errs[i] = p.fetchOne(ctx, c, i, source)
			mu.Lock()
			defer mu.Unlock()
			if size += n; size > pdf.MaxMerge && errs[i] == nil {
				errs[i] = combineFailure(platen.FailureDocumentLimit, fmt.Sprintf("The sources have more than %d bytes together, which is the most that can be combined at a time.", pdf.MaxMerge))
			}
			if errs[i] != nil {
				cancel() // one is enough
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	if deadline.Err() != nil && whole.Err() == nil {
		failure := combineFailure(platen.FailureTimeout, fmt.Sprintf("The addresses among the sources did not give all their files within %v.", fetchTime))
		failure.Retryable = true
		return failure
	}
	return errors.Join(errs...)
}

func (p *Pipeline) fetchOne(ctx context.Context, c *platen.CombinedSubmission, index int, source *platen.CombinedSource) (*os.File, int64, error) {
	address, err := p.Keyring.Decrypt(source.Address, addressContext(c, index))
	if err != nil {
		p.Log.ErrorContext(ctx, "the address of a source cannot be decrypted", "document", c.ID, "source", index, "error", err)
		return nil, 0, sourceProblem(index, platen.FailureSecretUnreadable, "the stored address cannot be decrypted: the operator's PLATEN_SECRET_KEY lacks the key it was encrypted with. Put that key back and combine again.")
	}
	file, err := unnamedFile()
	if err != nil {
		return nil, 0, err
	}
	size, err := p.Fetcher.Fetch(ctx, string(address), platen.MaxPart, file)
	var failure *platen.Failure
	if errors.As(err, &failure) {
		failure.Path = sourcePath(index)
		failure.Message = fmt.Sprintf("Source %d: %s", index, failure.Message)
	}
	return file, size, err
}

// titleOf is the name of the file at an address.
func titleOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	if name := path.Base(u.Path); name != "/" && name != "." {
		return strings.TrimSuffix(name, ".pdf")
	}
	return u.Host
}

func sourcePath(index int) []string { return []string{"sources", strconv.Itoa(index)} }

func combineFailure(code platen.FailureCode, message string) *platen.Failure {
	return &platen.Failure{Stage: platen.StageCombine, Code: code, Message: message, OccurredAt: time.Now()}
}

// sourceProblem is a failure that one source is to blame for, counted from 0 as in the
// call.
func sourceProblem(index int, code platen.FailureCode, message string) *platen.Failure {
	failure := combineFailure(code, fmt.Sprintf("Source %d: %s", index, message))
	failure.Path = sourcePath(index)
	return failure
}

// sourceFailure is what is wrong with the file of one source.
func sourceFailure(index int, err error) error {
	var mistake *pdf.Error
	if !errors.As(err, &mistake) {
		return err
	}
	code := platen.FailureSourceDamaged
	switch mistake.Kind {
	case pdf.Encrypted:
		code = platen.FailureSourceEncrypted
	case pdf.Limit:
		code = platen.FailureSourceTooLarge
	}
	return sourceProblem(index, code, mistake.Message+".")
}

// mergeFailure is what is wrong with a merge: with one source, or with all of them
// together.
func mergeFailure(err error) error {
	var mistake *pdf.Error
	if !errors.As(err, &mistake) {
		return err
	}
	if mistake.Part >= 0 {
		return sourceFailure(mistake.Part, err)
	}
	code := platen.FailurePDFProcessing
	if mistake.Kind == pdf.Limit {
		code = platen.FailureDocumentLimit
	}
	return combineFailure(code, "The sources could not be put together: "+mistake.Message+".")
}
