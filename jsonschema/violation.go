package jsonschema

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"unicode/utf8"

	engine "github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

const (
	maxMessage  = 600 // bytes
	maxShown    = 60  // characters of a value or a name in a message
	maxNames    = 10  // values or names in a message
	maxVariants = 3   // alternatives in a message
)

// validate lists what in the data is not as the schema has it.
func validate(s *schema, text []byte) ([]Violation, *Error) {
	data, f := decode(text)
	if f != nil {
		return []Violation{{pointer(f.path), "type", f.message}}, nil
	}
	var found *engine.ValidationError
	if err := s.Validate(data); err == nil {
		return nil, nil
	} else if !errors.As(err, &found) {
		return nil, mistake("", "the schema cannot be applied")
	}
	all := collect(found)
	var paths [][]string
	for _, e := range all {
		if cycle, ok := e.ErrorKind.(*kind.RefCycle); ok {
			return nil, mistake(fragment(cycle.URL), "leads back to itself without end")
		}
		paths = append(paths, e.InstanceLocation)
	}
	positions := positions(text, paths)
	slices.SortFunc(all, func(a, b *engine.ValidationError) int {
		return cmp.Or(positions(a.InstanceLocation)-positions(b.InstanceLocation), bySchema(a, b))
	})
	var told []Violation
	for _, e := range all {
		v := Violation{pointer(e.InstanceLocation), keyword(e), message(e, true)}
		if !slices.Contains(told, v) { // a schema can say the same thing twice
			told = append(told, v)
		}
		if len(told) == MaxViolations {
			break
		}
	}
	return told, nil
}

// collect finds the errors that say something by themselves, in any order.
func collect(e *engine.ValidationError) (found []*engine.ValidationError) {
	switch e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		for _, cause := range e.Causes {
			found = append(found, collect(cause)...)
		}
		return found
	}
	return []*engine.ValidationError{e}
}

// leaves are the same errors in the order of their places' names.
func leaves(e *engine.ValidationError) []*engine.ValidationError {
	found := collect(e)
	slices.SortFunc(found, func(a, b *engine.ValidationError) int {
		return cmp.Or(slices.Compare(a.InstanceLocation, b.InstanceLocation), bySchema(a, b))
	})
	return found
}

// bySchema orders errors of one value.
func bySchema(a, b *engine.ValidationError) int {
	return cmp.Or(strings.Compare(keyword(a), keyword(b)), strings.Compare(a.SchemaURL, b.SchemaURL))
}

func keyword(e *engine.ValidationError) string {
	switch k := e.ErrorKind.(type) {
	case *kind.Not:
		return "not"
	case *kind.FalseSchema:
		// The keyword whose schema is false, or that has it by name or number.
		steps := strings.Split(fragment(e.SchemaURL), "/")
		for _, step := range slices.Backward(steps[1:]) {
			if slices.Contains([]string{"properties", "patternProperties", "prefixItems", "items", "contains", "unevaluatedItems",
				"unevaluatedProperties", "additionalProperties", "propertyNames", "allOf", "then", "else", "dependentSchemas"}, step) {
				return step
			}
		}
		return "false"
	case *kind.Dependency:
		return "dependencies"
	default:
		if path := k.KeywordPath(); len(path) > 0 {
			return path[0]
		}
		return "type"
	}
}

// message says what is expected of a value. Alternatives are told if asked for.
func message(e *engine.ValidationError, alternatives bool) string {
	text := sentence(e, alternatives)
	if len(text) <= maxMessage {
		return text
	}
	cut := maxMessage
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

func sentence(e *engine.ValidationError, alternatives bool) string {
	switch k := e.ErrorKind.(type) {
	case *kind.Type:
		return typeMessage(k.Want, k.Got)
	case *kind.Const:
		return "must be " + show(k.Want)
	case *kind.Enum:
		if len(k.Want) == 0 {
			return "must not be here: no value is allowed"
		}
		return "must be " + oneOf(k.Want)
	case *kind.Format:
		if k.Want == "regex" {
			return regexMessage(k.Err)
		}
		return "must be " + formatName(k.Want)
	case *kind.Pattern:
		return "must match the regular expression " + shorten(k.Want)
	case *kind.Required:
		return "must have " + properties(k.Missing)
	case *kind.DependentRequired:
		return fmt.Sprintf("must have %s, because it has %s", properties(k.Missing), show(k.Prop))
	case *kind.Dependency:
		return fmt.Sprintf("must have %s, because it has %s", properties(k.Missing), show(k.Prop))
	case *kind.AdditionalProperties:
		return "must not have " + properties(slices.Sorted(slices.Values(k.Properties)))
	case *kind.PropertyNames:
		return fmt.Sprintf("must not have the property %s: its name %s", show(k.Property), message(leaves(&engine.ValidationError{ErrorKind: &kind.Group{}, Causes: e.Causes})[0], false))
	case *kind.MinProperties:
		return fmt.Sprintf("must have at least %s, but has %d", count(k.Want, "property", "properties"), k.Got)
	case *kind.MaxProperties:
		return fmt.Sprintf("must have at most %s, but has %d", count(k.Want, "property", "properties"), k.Got)
	case *kind.MinItems:
		return fmt.Sprintf("must have at least %s, but has %d", count(k.Want, "item", "items"), k.Got)
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %s, but has %d", count(k.Want, "item", "items"), k.Got)
	case *kind.UniqueItems:
		return fmt.Sprintf("must have no item twice, but those at %d and %d are equal", k.Duplicates[0], k.Duplicates[1])
	case *kind.Contains:
		return `must have an item that is as "contains" has it`
	case *kind.MinContains:
		return fmt.Sprintf(`must have at least %s as "contains" has it, but has %d`, count(k.Want, "item", "items"), len(k.Got))
	case *kind.MaxContains:
		return fmt.Sprintf(`must have at most %s as "contains" has it, but has %d`, count(k.Want, "item", "items"), len(k.Got))
	case *kind.MinLength:
		return fmt.Sprintf("must have at least %s, but has %d", count(k.Want, "character", "characters"), k.Got)
	case *kind.MaxLength:
		return fmt.Sprintf("must have at most %s, but has %d", count(k.Want, "character", "characters"), k.Got)
	case *kind.Minimum:
		return fmt.Sprintf("must be at least %s, but is %s", decimal(k.Want), decimal(k.Got))
	case *kind.Maximum:
		return fmt.Sprintf("must be at most %s, but is %s", decimal(k.Want), decimal(k.Got))
	case *kind.ExclusiveMinimum:
		return fmt.Sprintf("must be more than %s, but is %s", decimal(k.Want), decimal(k.Got))
	case *kind.ExclusiveMaximum:
		return fmt.Sprintf("must be less than %s, but is %s", decimal(k.Want), decimal(k.Got))
	case *kind.MultipleOf:
		return fmt.Sprintf("must be a multiple of %s, but is %s", decimal(k.Want), decimal(k.Got))
	case *kind.Not:
		return `must not be as "not" has it`
	case *kind.FalseSchema:
		return "must not be here"
	case *kind.AnyOf:
		return variants(e, alternatives, "must fit one of the alternatives")
	case *kind.OneOf:
		if len(k.Subschemas) == 2 {
			return fmt.Sprintf("must fit only one of the alternatives, but fits number %d and number %d", k.Subschemas[0]+1, k.Subschemas[1]+1)
		}
		return variants(e, alternatives, "must fit one of the alternatives")
	}
	return fmt.Sprintf("must be as %q has it", keyword(e))
}

// variants tells what the alternatives of anyOf and oneOf expect. Those for
// another type of value are of interest only when all of them are.
func variants(e *engine.ValidationError, tell bool, begin string) string {
	var types []string
	var got string
	var rest []*engine.ValidationError
	for _, cause := range e.Causes {
		first := leaves(cause)[0]
		if k, ok := first.ErrorKind.(*kind.Type); ok && len(first.InstanceLocation) == len(e.InstanceLocation) {
			types, got = append(types, k.Want...), k.Got
		} else {
			rest = append(rest, cause)
		}
	}
	if len(rest) == 0 && len(types) > 0 {
		slices.Sort(types)
		return typeMessage(slices.Compact(types), got)
	}
	if !tell {
		return begin
	}
	var told []string
	for _, cause := range rest[:min(len(rest), maxVariants)] {
		all := leaves(cause)
		text := sentence(all[0], false)
		if below := all[0].InstanceLocation[len(e.InstanceLocation):]; len(below) > 0 {
			text = shorten(pointer(below)) + " " + text
		}
		if len(all) > 1 {
			text += fmt.Sprintf(" (and %d more)", len(all)-1)
		}
		if !slices.Contains(told, text) {
			told = append(told, text)
		}
	}
	if len(told) == 1 && len(rest) <= maxVariants {
		return begin + ": " + told[0]
	}
	if len(rest) > maxVariants {
		told = append(told, fmt.Sprintf("one of %d others", len(rest)-maxVariants))
	}
	return begin + ": " + strings.Join(told, "; or ")
}

func typeMessage(want []string, got string) string {
	names := map[string]string{
		"null": "null", "boolean": "true or false", "number": "a number", "integer": "a whole number",
		"string": "a string", "array": "an array", "object": "an object",
	}
	var wanted []string
	for _, w := range want {
		wanted = append(wanted, names[w])
	}
	text := "must be " + joinWords(wanted)
	if got == "number" && slices.Contains(want, "integer") {
		return text + ", but has a fraction"
	}
	return text + ", but is " + names[got]
}

func oneOf(values []any) string {
	if len(values) == 1 {
		return show(values[0])
	}
	var shown []string
	for _, v := range values[:min(len(values), maxNames)] {
		shown = append(shown, show(v))
	}
	if more := len(values) - maxNames; more > 0 {
		return "one of " + strings.Join(shown, ", ") + fmt.Sprintf(" and %d more", more)
	}
	return joinWords(shown)
}

func joinWords(words []string) string {
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// properties names some.
func properties(names []string) string {
	if len(names) == 1 {
		return "the property " + show(names[0])
	}
	var shown []string
	for _, name := range names[:min(len(names), maxNames)] {
		shown = append(shown, show(name))
	}
	if more := len(names) - maxNames; more > 0 {
		shown = append(shown, fmt.Sprintf("%d more", more))
	}
	last := len(shown) - 1
	return "the properties " + strings.Join(shown[:last], ", ") + " and " + shown[last]
}

// show writes a value as JSON, its beginning if it is long.
func show(v any) string {
	if s, ok := v.(string); ok {
		v = shorten(s) // before it is escaped
	}
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return "a certain value"
	}
	text := strings.TrimSuffix(b.String(), "\n")
	if _, ok := v.(string); ok {
		return text
	}
	return shorten(text)
}

func shorten(s string) string {
	shown := 0
	for i := range s {
		if shown == maxShown {
			return s[:i] + "…"
		}
		shown++
	}
	return s
}

// decimal writes a number with all of its digits, if they are not too many.
func decimal(n *big.Rat) string {
	places, _ := n.FloatPrec() // it was decimal in JSON, so it is exact
	return shorten(n.FloatString(places))
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func regexMessage(err error) string {
	return "is a regular expression that cannot be used: " + shorten(strings.TrimPrefix(err.Error(), "error parsing regexp: ")) +
		"; it must be one of RE2's, which have no lookarounds and no backreferences"
}

func formatName(format string) string {
	names := map[string]string{
		"date": "a date such as 2026-01-31", "time": "a time of day with its offset such as 13:45:00Z",
		"date-time": "a date and time with its offset such as 2026-01-31T13:45:00Z", "duration": "a duration such as P1DT12H",
		"period": "a period such as 2026-01-31T13:45:00Z/P1D", "email": "an email address", "hostname": "the name of a host",
		"ipv4": "an IPv4 address such as 192.0.2.1", "ipv6": "an IPv6 address such as 2001:db8::1",
		"uri": "a URI such as https://example.com/a", "iri": "an IRI such as https://example.com/ä",
		"uri-reference": "a URI or a relative reference", "iri-reference": "an IRI or a relative reference", "uri-template": "a URI template",
		"uuid": "a UUID such as 123e4567-e89b-12d3-a456-426614174000", "json-pointer": "a JSON pointer such as /a/0",
		"relative-json-pointer": "a relative JSON pointer such as 1/a", "semver": "a version such as 1.2.3",
	}
	if name, ok := names[format]; ok {
		return name
	}
	return "of the format " + format
}
