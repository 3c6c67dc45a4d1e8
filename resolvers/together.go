package resolvers

import (
	"context"
	"errors"
	"reflect"
	"sync"
)

// What a field needs from the database is read for all peers of its object at once.
// Peers are the objects of one type that one step of the operation brought: the nodes of
// a page, the actions of all submissions of a page, the templates of all of those. So an
// operation sends as many statements as it has such fields, whatever the pages hold.
// gqlgen's own batches end at each list: the actions of one submission would be a batch,
// and the node of an edge would be alone.
type peers struct {
	objs   []any // of one type
	mu     sync.Mutex
	fields map[string]func() (any, error)
}

// place is where an object stands among its peers.
type place struct {
	*peers
	index int
}

// company is who is whose peer in one operation.
type company struct {
	mu sync.Mutex
	of map[any]place
}

type companyKey struct{}

func withCompany(ctx context.Context) context.Context {
	return context.WithValue(ctx, companyKey{}, &company{of: map[any]place{}})
}

// bring makes objects peers that one step brought, each of those of its type. Objects are
// pointers, alone or in lists of lists; an object has one place.
func bring(ctx context.Context, objs any) {
	c, ok := ctx.Value(companyKey{}).(*company)
	if !ok {
		return // everyone stays alone
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	kinds := map[reflect.Type]*peers{}
	var add func(reflect.Value)
	add = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Slice:
			for i := range v.Len() {
				add(v.Index(i))
			}
		case reflect.Interface:
			add(v.Elem())
		case reflect.Pointer:
			if v.IsNil() || v.Type().Elem().Kind() != reflect.Struct {
				return // there is nothing to ask of it
			}
			p := kinds[v.Type()]
			if p == nil {
				p = &peers{fields: map[string]func() (any, error){}}
				kinds[v.Type()] = p
			}
			obj := v.Interface()
			c.of[obj] = place{p, len(p.objs)}
			p.objs = append(p.objs, obj)
		}
	}
	add(reflect.ValueOf(objs))
}

// together answers a field of an object. The first of its peers to need the field reads
// it for all of them; the answers are one for each, and peers again. The name of a field
// that has arguments has them in it.
func together[O, A any](ctx context.Context, obj *O, field string, read func([]*O) ([]A, error)) (none A, err error) {
	of := place{&peers{objs: []any{obj}, fields: map[string]func() (any, error){}}, 0}
	if c, ok := ctx.Value(companyKey{}).(*company); ok {
		c.mu.Lock()
		if known, ok := c.of[obj]; ok {
			of = known
		}
		c.mu.Unlock()
	}
	of.mu.Lock()
	all := of.fields[field]
	if all == nil {
		all = sync.OnceValues(func() (any, error) {
			objs := make([]*O, len(of.objs))
			for i, one := range of.objs {
				objs[i] = one.(*O)
			}
			answers, err := read(objs)
			if err != nil {
				return nil, &sharedError{error: err}
			}
			bring(ctx, answers)
			return answers, nil
		})
		of.fields[field] = all
	}
	of.mu.Unlock()
	answers, err := all()
	if err != nil {
		return none, err
	}
	return answers.([]A)[of.index], nil
}

// sharedError is what each of some peers is told, and what is logged once.
type sharedError struct {
	error
	logged sync.Once
}

func (e *sharedError) Unwrap() error { return e.error }

// once does what is to be done once for all who are told an error.
func once(err error, do func()) {
	if shared, ok := errors.AsType[*sharedError](err); ok {
		shared.logged.Do(do)
		return
	}
	do()
}

// related answers a field that another object, named by id, is in. What has none is null.
func related[O, D, G any](ctx context.Context, obj *O, field string, id func(*O) string, read func(ids []string) (map[string]*D, error), to func(*D) *G) (*G, error) {
	return together(ctx, obj, field, func(objs []*O) ([]*G, error) {
		var found map[string]*D
		var err error
		if named := ids(objs, id); len(named) > 0 {
			found, err = read(named)
		}
		return each(objs, err, func(obj *O) *G {
			if d := found[id(obj)]; d != nil {
				return to(d)
			}
			return nil
		})
	})
}

// each is one answer for each object.
func each[O, A any](objs []O, err error, answer func(O) A) ([]A, error) {
	if err != nil {
		return nil, err
	}
	answers := make([]A, len(objs))
	for i, obj := range objs {
		answers[i] = answer(obj)
	}
	return answers, nil
}

// ids collects an id of each object, each once, leaving out the empty ones.
func ids[T any](objs []T, id func(T) string) []string {
	var all []string
	seen := map[string]bool{"": true}
	for _, obj := range objs {
		if one := id(obj); !seen[one] {
			seen[one] = true
			all = append(all, one)
		}
	}
	return all
}
