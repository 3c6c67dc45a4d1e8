package resolvers

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"platen"
	"platen/graph"
	"platen/pipeline"
	"platen/storage"
)

func toBatch(b *platen.Batch) *graph.SubmissionBatch {
	return &graph.SubmissionBatch{ID: b.ID, State: b.State(), Test: b.Test, Metadata: b.Metadata, TotalCount: b.Total, PendingCount: b.Pending(),
		ProcessedCount: b.Processed, FailedCount: b.Failed, CompletionPercentage: 100 * float64(b.Total-b.Pending()) / float64(max(b.Total, 1)),
		CreatedAt: b.CreatedAt, ProcessedAt: b.ProcessedAt, Revision: b.Revision(), Source: b}
}

func (r mutation) CreateSubmissionBatch(ctx context.Context, input graph.CreateSubmissionBatchInput) (*graph.CreateSubmissionBatchPayload, error) {
	request := pipeline.BatchRequest{TemplateID: input.TemplateID.Value(), Expiry: expiry(input.ExpiresIn), Metadata: input.Metadata.Value(), Test: input.Test.Value()}
	key, errs := idempotencyKey(input.IdempotencyKey)
	for i, one := range input.Submissions {
		for field, set := range map[string]bool{"test": one.Test.IsSet(), "wait": one.Wait.IsSet(), "idempotencyKey": one.IdempotencyKey.IsSet()} {
			if set {
				errs.Add(platen.CodeInvalid, "This belongs to the batch: leave it out here.", "submissions", strconv.Itoa(i), field)
			}
		}
		request.Submissions = append(request.Submissions, fromSubmission(*one))
	}
	shown, err := userErrors(errs.Err(), "input")
	if err != nil || len(shown) > 0 {
		return &graph.CreateSubmissionBatchPayload{UserErrors: shown}, err
	}
	b, ids, err := r.Pipeline.SubmitBatch(ctx, scope(ctx), key, request)
	shown, err = userErrors(err, "input")
	if err != nil || len(shown) > 0 {
		return &graph.CreateSubmissionBatchPayload{UserErrors: shown}, err
	}
	return &graph.CreateSubmissionBatchPayload{Batch: toBatch(b), SubmissionIds: ids, UserErrors: shown}, nil
}

func (r query) SubmissionBatch(ctx context.Context, id string) (*graph.SubmissionBatch, error) {
	if platen.KindOf(id) != platen.KindBatch {
		return nil, nil
	}
	b, err := r.DB.Batch(ctx, scope(ctx), id)
	return found(b, err, toBatch)
}

func (r query) SubmissionBatches(ctx context.Context, first *int, after *string, last *int, before *string) (*graph.SubmissionBatchConnection, error) {
	p, err := page(first, after, last, before)
	if err != nil {
		return nil, err
	}
	within := scope(ctx)
	c := &graph.SubmissionBatchConnection{AccountID: within.AccountID, TestOnly: within.TestOnly}
	c.Edges, c.Nodes, c.PageInfo, err = list(ctx, p,
		func(ctx context.Context, p storage.Page) ([]*platen.Batch, storage.PageInfo, error) {
			return r.DB.Batches(ctx, within, p)
		},
		func(b *platen.Batch) (*graph.SubmissionBatch, string) {
			return toBatch(b), storage.Cursor(b.CreatedAt, b.ID)
		},
		func(cursor string, b *graph.SubmissionBatch) *graph.SubmissionBatchEdge {
			return &graph.SubmissionBatchEdge{Cursor: cursor, Node: b}
		})
	return c, err
}

func (r batchConnection) TotalCount(ctx context.Context, c *graph.SubmissionBatchConnection) (int, error) {
	return r.DB.CountBatches(ctx, storage.Scope{AccountID: c.AccountID, TestOnly: c.TestOnly})
}

// Submissions reads a part of a batch in the order in which it was given. Its cursors
// are places in that order.
func (r batch) Submissions(ctx context.Context, b *graph.SubmissionBatch, first *int, after *string, states []platen.DocumentState) (*graph.SubmissionConnection, error) {
	p, err := page(first, after, nil, nil)
	if err != nil {
		return nil, err
	}
	place := -1
	if p.After != "" {
		text, err := base64.RawURLEncoding.DecodeString(p.After)
		number, isPlace := strings.CutPrefix(string(text), batchCursor)
		var malformed error
		if place, malformed = strconv.Atoi(number); err != nil || !isPlace || malformed != nil || place < 0 || place >= platen.MaxBatch {
			return nil, listError(storage.ErrCursor)
		}
	}
	within := scope(ctx)
	return together(ctx, b, fmt.Sprintf("submissions %#v %q", p, states), func(objs []*graph.SubmissionBatch) ([]*graph.SubmissionConnection, error) {
		submissions, err := r.DB.SubmissionsOfBatches(ctx, within, ids(objs, func(b *graph.SubmissionBatch) string { return b.ID }), states, place, p.First)
		all := make([][]*graph.Submission, 0, len(objs))
		defer func() { bring(ctx, all) }()
		return each(objs, err, func(b *graph.SubmissionBatch) *graph.SubmissionConnection {
			c := &graph.SubmissionConnection{AccountID: within.AccountID, TestOnly: within.TestOnly, Filter: platen.SubmissionFilter{BatchID: b.ID, DocumentFilter: platen.DocumentFilter{States: states}}}
			of := submissions[b.ID]
			c.Edges, c.Nodes, c.PageInfo = connect(of.Rows, storage.PageInfo{HasNext: of.Info.HasNext, HasPrevious: place >= 0},
				func(s *platen.Submission) (*graph.Submission, string) {
					return toSubmission(s), base64.RawURLEncoding.EncodeToString([]byte(batchCursor + strconv.Itoa(s.BatchIndex)))
				},
				func(cursor string, s *graph.Submission) *graph.SubmissionEdge {
					return &graph.SubmissionEdge{Cursor: cursor, Node: s}
				})
			all = append(all, c.Nodes)
			return c
		})
	})
}

const batchCursor = "place "
