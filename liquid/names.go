package liquid

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const (
	maxNames = 1000
	maxSteps = 32  // of a name
	maxName  = 256 // bytes
)

// anyItem is the step of a path from a list to its items.
const anyItem = "[]"

// keepItems are the filters whose result has the items of what they are given.
var keepItems = map[string]bool{
	"compact": true, "concat": true, "default": true, "reverse": true, "slice": true,
	"sort": true, "sort_natural": true, "uniq": true, "where": true,
}

// origin is the path of a variable in what the source is given; nil when the
// source makes it.
func (r *reader) origin(v use) []string {
	var base []string
	if b := r.loopOf(v.path[0]); b != nil {
		if b.loopVariable != v.path[0] || b.items == nil {
			return nil
		}
		base = b.items
	} else if path, set := r.set[v.path[0]]; set {
		if path == nil {
			return nil
		}
		base = path
	} else {
		base = v.path[:1]
	}
	path := slices.Clone(base)
	for i := 1; i < len(v.path) && len(path) < maxSteps; i++ {
		if v.numbers[i] {
			path = append(path, anyItem)
		} else {
			path = append(path, v.path[i])
		}
	}
	return path
}

// loopOf finds the innermost loop around that binds a variable.
func (r *reader) loopOf(variable string) *block {
	for i := len(r.blocks) - 1; i >= 0; i-- {
		if b := &r.blocks[i]; b.loopVariable != "" && (b.loopVariable == variable || variable == "forloop") {
			return b
		}
	}
	return nil
}

// subject is the path of the value of an expression that began with first; nil
// when it is not simply a part of what the source is given.
func (r *reader) subject(x *expression, first lexeme) []string {
	i := slices.IndexFunc(x.variables, func(v use) bool { return v.at == first.at })
	if i < 0 || x.operators > 0 || x.variables[i].cut {
		return nil
	}
	path := r.origin(x.variables[i])
	for _, f := range x.filters {
		switch filter := f.path[0]; {
		case filter == "first" || filter == "last":
			path = item(path)
		case !keepItems[filter]:
			return nil
		}
	}
	return path
}

// item is the path of the items of a list.
func item(list []string) []string {
	if list == nil || len(list) >= maxSteps {
		return list
	}
	return append(slices.Clone(list), anyItem)
}

func dataNames(r request) ([]string, *Error) {
	var own []string
	if err := json.Unmarshal(r.Vars, &own); err != nil || len(own) == 0 {
		return nil, &Error{Kind: Render, Message: fmt.Sprintf("malformed request: %v", err)}
	}
	whole, own := own[0], own[1:]
	paths := map[string][]string{}
	lists := map[string]bool{}
	for _, s := range r.Sources {
		t, bad := compile(s)
		if bad != nil {
			return nil, bad
		}
		for _, path := range t.syntax.reads {
			if path[0] == whole {
				path = path[1:]
			} else if slices.Contains(own, path[0]) {
				continue
			}
			for i, step := range path {
				if step == anyItem {
					lists[pathName(path[:i])] = true
				}
			}
			if len(paths) < maxNames {
				paths[pathName(path)] = path
			}
		}
	}
	names := map[string]bool{}
	for _, path := range paths {
		if name := pathName(ofLists(path, lists)); name != "" {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// ofLists writes a path without what Liquid knows of lists by itself: their
// size, and their first and last item. An object may have fields of those names.
func ofLists(path []string, lists map[string]bool) []string {
	for i, step := range path {
		if i == 0 || !lists[pathName(path[:i])] {
			continue
		}
		switch step {
		case "size":
			return path[:i]
		case "first", "last":
			path = slices.Clone(path)
			path[i] = anyItem
		}
	}
	return path
}

// pathName writes a path as a source could, but for the items of lists.
func pathName(path []string) string {
	var b strings.Builder
	for i, step := range path {
		written := step
		switch {
		case step == anyItem:
		case step == "" || nameSize(step) < len(step) || !startsName(step):
			quotes := `"`
			if strings.Contains(step, quotes) {
				quotes = "'"
			}
			written = "[" + quotes + step + quotes + "]"
		case i > 0:
			written = "." + step
		}
		if b.Len()+len(written) > maxName {
			break
		}
		b.WriteString(written)
	}
	return b.String()
}
