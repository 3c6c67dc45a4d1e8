package resolvers

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/99designs/gqlgen/graphql"

	"platen"
	"platen/feed"
	"platen/graph"
	"platen/storage"
)

type positionKey struct{}

// Around notes where the history is before an operation reads anything: a client that
// reads the present and then subscribes after that misses nothing. It also begins the
// operation's company of peers.
func (r *Root) Around(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	return next(withCompany(context.WithValue(ctx, positionKey{}, r.Hub.Position())))
}

func (r account) FeedCursor(ctx context.Context, _ *graph.Account) (string, error) {
	position, ok := ctx.Value(positionKey{}).(string)
	if !ok {
		return "", errors.New("the operation was not begun by Around")
	}
	return position, nil
}

func (r subscription) DocumentFeed(ctx context.Context, after *string, filter *graph.DocumentFeedFilter) (<-chan graph.DocumentFeedEvent, error) {
	return tell(ctx, func() (iter.Seq[*feed.Entry], error) {
		wants, err := documentChoice(filter)
		if err != nil {
			return nil, err
		}
		entries, err := r.Hub.Documents(ctx, scope(ctx), orZero(after), wants)
		return entries, feedError(err)
	}, nil, entryName, func(e *feed.Entry) graph.DocumentFeedEvent {
		switch {
		case e.Ready:
			return &graph.FeedReady{Cursor: e.Cursor, At: e.At}
		case e.Reset != "":
			return &graph.FeedReset{Cursor: e.Cursor, At: e.At, Reason: e.Reset}
		}
		return &graph.DocumentChange{Cursor: e.Cursor, At: e.At, Document: toDocument(e.Event.Subject.(platen.AnyDocument))}
	})
}

// documentChoice tells which documents a filter chooses.
func documentChoice(filter *graph.DocumentFeedFilter) (func(platen.AnyDocument) bool, error) {
	var of graph.DocumentFeedFilter
	if filter != nil {
		of = *filter
	}
	chosen, err := fromSubmissionFilter(&graph.SubmissionFilter{TemplateID: of.TemplateID, BatchID: of.BatchID, Test: of.Test, Metadata: of.Metadata})
	if err != nil {
		return nil, err
	}
	kind, hasMetadata := given(of.Kind), storage.MetadataHas(chosen.Metadata)
	return func(document platen.AnyDocument) bool {
		s, isSubmission := document.(*platen.Submission)
		switch {
		case kind == graph.DocumentKindSubmission && !isSubmission, kind == graph.DocumentKindCombinedSubmission && isSubmission:
			return false
		case chosen.TemplateID != "" && (!isSubmission || s.TemplateID != chosen.TemplateID):
			return false
		case chosen.BatchID != "" && (!isSubmission || s.BatchID != chosen.BatchID):
			return false
		case chosen.Test != nil && *chosen.Test != document.Common().Test:
			return false
		}
		return hasMetadata(document.Common().Metadata)
	}, nil
}

func (r subscription) ActionFeed(ctx context.Context, after *string, filter *graph.ActionFilter) (<-chan graph.ActionFeedEvent, error) {
	return tell(ctx, func() (iter.Seq[*feed.Entry], error) {
		wants, err := actionChoice(filter)
		if err != nil {
			return nil, err
		}
		entries, err := r.Hub.Actions(ctx, scope(ctx), orZero(after), wants)
		return entries, feedError(err)
	}, nil, entryName, func(e *feed.Entry) graph.ActionFeedEvent {
		switch {
		case e.Ready:
			return &graph.FeedReady{Cursor: e.Cursor, At: e.At}
		case e.Reset != "":
			return &graph.FeedReset{Cursor: e.Cursor, At: e.At, Reason: e.Reset}
		}
		return &graph.ActionChange{Cursor: e.Cursor, At: e.At, Action: toAction(e.Event.Subject.Base().Action(e.ActionID))}
	})
}

// actionChoice tells which actions a filter chooses.
func actionChoice(filter *graph.ActionFilter) (func(*platen.Action) bool, error) {
	chosen, err := fromActionFilter(filter)
	if err != nil {
		return nil, err
	}
	return func(a *platen.Action) bool {
		return (len(chosen.Types) == 0 || slices.Contains(chosen.Types, a.Type)) &&
			(len(chosen.States) == 0 || slices.Contains(chosen.States, a.State)) &&
			(chosen.IntegrationID == "" || a.IntegrationID == chosen.IntegrationID) &&
			(chosen.SubjectID == "" || a.SubjectID == chosen.SubjectID) &&
			(chosen.Test == nil || *chosen.Test == a.Test && platen.KindOf(a.SubjectID) != platen.KindTemplateVersion)
	}, nil
}

// entryName names the changes of a feed. Of several that one event shows, those before
// the last have the cursor of what each reader saw before.
func entryName(e *feed.Entry) string {
	if e.Event == nil {
		return ""
	}
	return fmt.Sprint(e.Cursor, " ", e.Event.Cursor, " ", e.ActionID)
}

// feedError says what is wrong with a cursor.
func feedError(err error) error {
	if err == storage.ErrCursor {
		return badInput("after is a cursor that a feed, account.feedCursor or another subscription gave.")
	}
	return err
}

func orZero[T any](value *T) (zero T) {
	if value != nil {
		return *value
	}
	return zero
}
