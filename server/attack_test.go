package server

import (
	"fmt"
	"strings"
	"testing"
)

// Attacks are documents that are made to cost more than their length: T6 of
// docs/security.md. An empty reason says that the document is within all limits, and that
// its validation has to be cheap.
func Attacks(t testing.TB) map[string]struct{ Query, Reason string } {
	t.Helper()
	type attack = struct{ Query, Reason string }
	times := strings.Repeat
	each := func(n int, f func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(f(i))
		}
		return b.String()
	}
	doubling := func(levels int) string {
		return `{ account { ...f0 } }` + each(levels, func(i int) string { return fmt.Sprintf(` fragment f%d on Account { ...f%d ...f%d }`, i, i+1, i+1) }) +
			fmt.Sprintf(` fragment f%d on Account { id }`, levels)
	}
	const unspread = `{ account { id } } fragment a on `
	attacks := map[string]attack{
		"overlapping fields, 57 KB": {`{` + times(` account { id name }`, 57<<10/20) + `}`, "words and signs"},
		"overlapping fragments, 142 KB": {`{` + each(1500, func(i int) string { return fmt.Sprintf(" ...f%d", i) }) + `}` + each(1500, func(i int) string {
			return fmt.Sprintf(" fragment f%d on Query { account { id createdAt name } account { id } }", i)
		}), "longer than 64 KiB"},
		"overlapping fragments, 60 KB": {`{` + each(500, func(i int) string { return fmt.Sprintf(" ...f%d", i) }) + `}` + each(500, func(i int) string {
			return fmt.Sprintf(" fragment f%d on Query { account { id createdAt name } %s }", i, times(" ", 50))
		}), "words and signs"},
		"__typename, 2 MB":              {`{` + times(` __typename`, 2<<20/11) + `}`, "longer than 64 KiB"},
		"__typename, 60 KB":             {`{` + times(` __typename`, 60<<10/11) + `}`, "words and signs"},
		"__typename, a thousand":        {`{` + times(` __typename`, 1000) + `}`, "more than 150 fields in one place"},
		"aliases":                       {`{` + each(1000, func(i int) string { return fmt.Sprintf(" a%d: __typename", i) }) + `}`, "more than 150 fields in one place"},
		"aliases of lists":              {`{` + each(140, func(i int) string { return fmt.Sprintf(" a%d: templates(first: 100) { nodes { id name } }", i) }) + `}`, "more than 20000 values"},
		"one alias for many":            {`{` + each(140, func(i int) string { return fmt.Sprintf(` a: node(id: "%d") { id }`, i) }) + `}`, "a name more than 100 times"},
		"directives of a field":         {`{ account` + times(` @skip(if: false)`, 700) + ` { id } }`, "more than 5 directives"},
		"directives of an operation":    {`query` + times(` @a`, 2400) + ` { account { id } }`, "more than 5 directives"},
		"directives of a fragment":      {`{ account { ...a } } fragment a on Account` + times(` @a`, 2400) + ` { id }`, "more than 5 directives"},
		"directives of a spread":        {`{ account { ...a` + times(` @a`, 2400) + ` } } fragment a on Account { id }`, "more than 5 directives"},
		"directives of a variable":      {`query ($a: Int` + times(` @a`, 2400) + `) { account { id } }`, "more than 5 directives"},
		"deep":                          {times(`{ account `, 1600) + `{ id }` + times(` }`, 1600), "more than 15 levels"},
		"deep in inline fragments":      {`{` + times(` ... {`, 1500) + ` __typename` + times(` }`, 1501), "more than 15 levels"},
		"an id in each inline fragment": {`{ account {` + times(` ... { id`, 140) + times(` }`, 142), "more than 15 levels"},
		"wide in inline fragments":      {`{` + times(` ... { `+times(`... { __typename } `, 7)+`}`, 140) + `}`, "a name more than 100 times"},
		"deep lists":                    {`{ nodes(ids: ` + times(`[`, 2400) + times(`]`, 2400) + `) { id } }`, ""},
		"deep inputs":                   {`mutation { createTemplate(input: ` + times(`{content: `, 1200) + `1` + times(`}`, 1200) + `) { userErrors { code } } }`, ""},
		"a deep default":                {`query ($a: JSON = ` + times(`[`, 2400) + times(`]`, 2400) + `) { account { id } }`, ""},
		"a long list":                   {`{ nodes(ids: [` + times(`"a" `, 4900) + `]) { id } }`, ""},
		"a long list of mistakes":       {`{ submissions(filter: {states: [` + times(`PENDINX `, 4900) + `]}) { totalCount } }`, ""},
		"arguments":                     {`{ node(` + times(`id: 1 `, 1600) + `) { id } }`, ""},
		"variables":                     {`query (` + each(1200, func(i int) string { return fmt.Sprintf("$v%d:Int ", i) }) + `) { account { id } }`, ""},
		"names that are nearly right":   {`{` + each(149, func(i int) string { return fmt.Sprintf(" submissionx%d", i) }) + `}`, ""},
		"many operations":               {each(800, func(i int) string { return fmt.Sprintf("query a%d{...f}", i) }) + ` fragment f on Query {` + times(` account{id}`, 70) + `}`, "words and signs"},
		"fragments":                     {`{ account { id } }` + times(` fragment f on Account { id }`, 101), "more than 100 fragments"},
		"fragments in a circle":         {`{ account { ...a } } fragment a on Account { ...b } fragment b on Account { ...a }`, "spreads itself"},
		"fragments of everybody": {`{ account { ...f0 } }` + each(60, func(i int) string {
			return fmt.Sprintf(` fragment f%d on Account { id%s }`, i, each(35, func(j int) string { return fmt.Sprintf(" ...f%d", j) }))
		}), "spreads itself"},
		"a fragment for each": {`{` + each(99, func(i int) string { return fmt.Sprintf(" ...f%d", i) }) + `}` + each(99, func(i int) string {
			return fmt.Sprintf(` fragment f%d on Query { account { a: id b: id c: id d: id e: id f: id g: id h: id } }`, i)
		}), ""},
		"a chain of fragments": {`{ ...f0 }` + each(99, func(i int) string {
			return fmt.Sprintf(` fragment f%d on Query { a%d: __typename b: __typename c: __typename d: __typename e: __typename f: __typename g: __typename ...f%d }`, i, i, i+1)
		}), ""},
		"introspection of introspection": {`{ __schema { types ` + times(`{ fields { type `, 8) + `{ name }` + times(` } }`, 8) + ` } }`, "more than 15 levels"},
		// Nothing spreads these, and they are validated all the same.
		"unspread, wide":               {unspread + `Account {` + times(" id", 4900) + `}`, "more than 150 fields in one place"},
		"unspread, deep":               {unspread + `Query ` + times(`{ account `, 1600) + `{ id }` + times(` }`, 1600), "more than 15 levels"},
		"unspread, inline fragments":   {unspread + `Account {` + times(` ...{ id `, 1200) + `id` + times(`}`, 1201), "more than 15 levels"},
		"unspread, under another name": {unspread + `Account {` + times(" id", 4900) + `} fragment a on Account { id }`, "more than 150 fields in one place"},
	}
	for _, levels := range []int{20, 22, 25, 40, 80, 98, 160} {
		reason := "more than 1000 fields"
		if levels > 98 {
			reason = "more than 100 fragments"
		}
		attacks[fmt.Sprintf("fragments that double %d times", levels)] = attack{doubling(levels), reason}
	}
	attacks["unspread, fragments that double"] = attack{`{ account { id } }` + strings.TrimPrefix(doubling(98), `{ account { ...f0 } }`), "more than 1000 fields"}
	return attacks
}
