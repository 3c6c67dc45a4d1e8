package resolvers

import (
	"context"

	"platen/graph"
	"platen/storage"
)

// Bounds of a page of a list.
const (
	defaultPage = 25
	maxPage     = 100
)

// page reads the arguments of a list.
func page(first *int, after *string, last *int, before *string) (storage.Page, error) {
	p := storage.Page{First: defaultPage}
	switch {
	case first != nil && last != nil:
		return p, badInput("Give either first or last: a page is read from one end.")
	case first != nil && before != nil, last != nil && after != nil:
		return p, badInput("first goes with after, and last with before.")
	case first == nil && last == nil && before != nil:
		return p, badInput("before goes with last.")
	}
	for name, n := range map[string]*int{"first": first, "last": last} {
		if n != nil && (*n < 1 || *n > maxPage) {
			return p, badInput(name + " is 1 to 100.")
		}
	}
	if first != nil {
		p.First = *first
	}
	if last != nil {
		p.First, p.Last = 0, *last
	}
	if after != nil {
		p.After = *after
	}
	if before != nil {
		p.Before = *before
	}
	return p, nil
}

// listError says what a list's error means to the caller.
func listError(err error) error {
	if err == storage.ErrCursor {
		return badInput("after and before are cursors of this list, as pageInfo or an edge gave them.")
	}
	return err
}

// pageInfo tells where a page stands; cursors are those of its edges.
func pageInfo(info storage.PageInfo, cursors []string) *graph.PageInfo {
	shown := &graph.PageInfo{HasNextPage: info.HasNext, HasPreviousPage: info.HasPrevious}
	if len(cursors) > 0 {
		shown.StartCursor, shown.EndCursor = &cursors[0], &cursors[len(cursors)-1]
	}
	return shown
}

// list reads a page and makes its edges, nodes and page info.
func list[D, N, E any](ctx context.Context, p storage.Page, read func(context.Context, storage.Page) ([]D, storage.PageInfo, error),
	node func(D) (N, string), edge func(string, N) E) (edges []E, nodes []N, info *graph.PageInfo, err error) {
	rows, where, err := read(ctx, p)
	if err != nil {
		return nil, nil, nil, listError(err)
	}
	edges, nodes, info = connect(rows, where, node, edge)
	bring(ctx, nodes)
	return edges, nodes, info, nil
}

// connect makes what a page shows of its rows.
func connect[D, N, E any](rows []D, where storage.PageInfo, node func(D) (N, string), edge func(string, N) E) ([]E, []N, *graph.PageInfo) {
	edges, nodes, cursors := make([]E, len(rows)), make([]N, len(rows)), make([]string, len(rows))
	for i, row := range rows {
		nodes[i], cursors[i] = node(row)
		edges[i] = edge(cursors[i], nodes[i])
	}
	return edges, nodes, pageInfo(where, cursors)
}
