package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"platen"
	"platen/storage"
)

// BatchRequest is what a caller wants rendered by one call.
type BatchRequest struct {
	Submissions []Request
	// For those that do not say.
	TemplateID *string
	Expiry     Expiry

	Metadata json.RawMessage // of the batch
	Test     *bool           // of all
}

// SubmitBatch accepts submissions in one transaction: if one is refused, none is made
// (R3.6). It returns the batch and the ids of its submissions in their order. A call
// with a key that was used before returns what that call made (R3.9); "" is no key. The
// error is platen.Errors when the caller can mend it.
func (p *Pipeline) SubmitBatch(ctx context.Context, scope storage.Scope, key string, r BatchRequest) (*platen.Batch, []string, error) {
	once, err := p.once(ctx, scope, "createSubmissionBatch", key, r)
	if err != nil {
		return nil, nil, err
	}
	var b *platen.Batch
	if once.ResultID == "" {
		if b, err = p.submitBatch(ctx, scope, once, r); err != nil {
			return nil, nil, err
		}
	}
	if once.ResultID != "" {
		if b, err = p.DB.Batch(ctx, scope, once.ResultID); err != nil {
			return nil, nil, err
		}
	}
	ids, err := p.DB.SubmissionIDsOfBatch(ctx, b.AccountID, b.ID)
	return b, ids, err
}

func (p *Pipeline) submitBatch(ctx context.Context, scope storage.Scope, once *once, r BatchRequest) (*platen.Batch, error) {
	b := &platen.Batch{AccountID: scope.AccountID, ID: platen.NewID(platen.KindBatch), Test: scope.TestOnly, Metadata: orEmpty(r.Metadata), Total: len(r.Submissions)}
	if r.Test != nil {
		b.Test = *r.Test
	}
	errs := platen.ValidateMetadata(b.Metadata)
	switch {
	case len(r.Submissions) == 0:
		errs.Add(platen.CodeRequired, "Give at least one submission.", "submissions")
	case len(r.Submissions) > platen.MaxBatch:
		errs.Add(platen.CodeTooLarge, fmt.Sprintf("A batch has at most %d submissions; this has %d. Make several batches.", platen.MaxBatch, len(r.Submissions)), "submissions")
	}
	if scope.TestOnly && !b.Test {
		errs.Add(platen.CodeForbidden, "A test token makes test documents only: leave test out, or use a live token.", "test")
	}
	if r.Expiry.Seconds != nil {
		errs = append(errs, validateExpiry(*r.Expiry.Seconds, "expiresIn")...)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	submissions := make([]*platen.Submission, len(r.Submissions))
	known, drafts := versions{}, 0
	for i, one := range r.Submissions {
		shared := one.TemplateID == nil && one.HTML == nil && one.URL == nil
		if shared {
			one.TemplateID = r.TemplateID
		}
		if !one.Expiry.Set {
			one.Expiry = r.Expiry
		}
		one.Test = &b.Test
		s, err := p.prepare(ctx, scope, one, known)
		var mistakes platen.Errors
		switch {
		case err == nil:
			s.BatchID, s.BatchIndex = b.ID, i
			submissions[i] = s
			if s.Source == platen.SourceDraft {
				drafts += s.Content.Size()
			}
		case shared && errors.As(err, &mistakes) && slices.Equal(mistakes[0].Path, []string{"templateId"}):
			return nil, append(errs, mistakes[0]) // the same for all that name none
		case errors.As(err, &mistakes):
			errs = append(errs, mistakes.At("submissions", strconv.Itoa(i))...)
		default:
			return nil, err
		}
		if drafts > maxDrafts {
			errs.Add(platen.CodeTooLarge, fmt.Sprintf("Each submission keeps a copy of the draft that it uses, and those of a batch have at most %d bytes together. "+
				"Publish the draft and use the version, or make several batches.", maxDrafts), "submissions")
			break
		}
		if len(errs) >= maxMistakes {
			break
		}
	}
	if len(errs) > 0 {
		return nil, errs
	}
	ahead, err := p.admit(ctx, b.AccountID, b.Total)
	if err != nil {
		return nil, err
	}
	if err := p.accept(ctx, once, b.ID, b, ahead, submissions); err != nil || once.ResultID != "" {
		return nil, err
	}
	p.Log.InfoContext(ctx, "batch accepted", "batch", b.ID, "account", b.AccountID, "submissions", b.Total, "test", b.Test)
	return b, nil
}

// maxDrafts is how many bytes the drafts of a batch have together at most. All else that
// a batch is made of is in its call, and bounded with that.
const maxDrafts = 32 << 20

// maxMistakes is after how many mistakes a batch is not looked at any further.
const maxMistakes = 100
