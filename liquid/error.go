package liquid

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/osteele/liquid/expressions"
	"github.com/osteele/liquid/values"
)

// Kind says when a mistake shows.
type Kind string

const (
	Syntax Kind = "SYNTAX" // in the source itself
	Render Kind = "RENDER" // when the source meets the data
	Limit  Kind = "LIMIT"  // rendering took too long, or needed or made too much
)

// Error is a mistake in a source, told to the people who wrote it.
type Error struct {
	Kind    Kind
	Source  string // name of the source; empty when it cannot be told
	Line    int    // from 1; 0 when it cannot be told
	Column  int    // in characters, from 1; 0 when it cannot be told
	Message string // what is wrong, without the place
}

func (e *Error) Error() string {
	place := e.Source
	if e.Line > 0 {
		place = strings.TrimSpace(fmt.Sprintf("%s line %d", place, e.Line))
	}
	if e.Column > 0 {
		place += fmt.Sprintf(", column %d", e.Column)
	}
	if place == "" {
		return e.Message
	}
	return place + ": " + e.Message
}

func limitError(limit string) *Error {
	message := map[string]string{
		"cpu":    fmt.Sprintf("the template needs more than %v of computing time", cpuLimit),
		"time":   fmt.Sprintf("the template takes longer than %v", wallLimit),
		"memory": "the template needs more memory than it may use",
		"output": fmt.Sprintf("the template makes more than %d MB of text", outputLimit>>20),
		"input":  fmt.Sprintf("template and data are larger than %d MB", inputLimit>>20),
	}[limit]
	return &Error{Kind: Limit, Message: message}
}

// cause digs out what the engine wrapped in places.
func cause(err error) error {
	for {
		located, ok := err.(interface{ Cause() error })
		if !ok || located.Cause() == nil {
			return err
		}
		err = located.Cause()
	}
}

var (
	enginePlace = regexp.MustCompile(`(?s)^Liquid error(?: \(line \d+\))?: (.*) in ` + enginePath + `$`)
	conversion  = regexp.MustCompile(`(?s)^can't convert (?:(?:map key|map element|slice element) )?(.+?)\((.*)\) to type (.+)$`)
)

// explain says in plain words what the engine found wrong, and names the filter
// if it was one.
func explain(err error) (message, filter string) {
	err = cause(err)
	var failed expressions.FilterError
	if errors.As(err, &failed) {
		message, _ = explain(failed.Err)
		return fmt.Sprintf("filter %q: %s", failed.FilterName, message), failed.FilterName
	}
	text := err.Error()
	if m := enginePlace.FindStringSubmatch(text); m != nil {
		text = m[1]
	}
	if m := conversion.FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("%s cannot be used as %s", describe(m[1], m[2]), plainType(m[3])), ""
	}
	var arity *values.CallParityError
	if errors.As(err, &arity) {
		return fmt.Sprintf("it takes at most %s, not %d", count(arity.NumParams, "argument"), arity.NumArgs), ""
	}
	return text, ""
}

func describe(goType, value string) string {
	switch kind := plainType(goType); kind {
	case "a number":
		return value
	case "text":
	default:
		return kind
	}
	if runes := []rune(value); len(runes) > 40 {
		value = string(runes[:40]) + "…"
	}
	return fmt.Sprintf("%q", value)
}

// plainType names a Go type for people who know JSON.
func plainType(goType string) string {
	switch {
	case strings.HasPrefix(goType, "int"), strings.HasPrefix(goType, "uint"), strings.HasPrefix(goType, "float"):
		return "a number"
	case goType == "string":
		return "text"
	case goType == "bool":
		return "true or false"
	case goType == "time.Time":
		return "a date"
	case strings.HasPrefix(goType, "[]"), goType == "values.Range":
		return "a list"
	case strings.HasPrefix(goType, "map["), goType == "liquid.object":
		return "an object"
	default:
		return "this value"
	}
}

func count(n int, noun string) string {
	switch n {
	case 0:
		return "no " + noun
	case 1:
		return "1 " + noun
	default:
		return fmt.Sprintf("%d %ss", n, noun)
	}
}
