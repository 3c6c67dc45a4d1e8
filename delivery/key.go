package delivery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"platen"
	"platen/liquid"
)

const (
	// maxKey is the length of an object's key in UTF-8
	// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html).
	maxKey = 1024
	// maxPathTemplate is the length of a path template in characters.
	maxPathTemplate = 1024
)

// Variables are the names that a path template may use (R5.4); metadata is an object.
var Variables = []string{
	"account_id", "template_id", "template_name", "template_version", "submission_id", "extension",
	"timestamp", "date", "year", "month", "day", "metadata",
}

// Keys makes object keys from path templates. It is safe for concurrent use.
type Keys struct {
	engine *liquid.Engine
}

// NewKeys makes a Keys that renders with engine.
func NewKeys(engine *liquid.Engine) *Keys { return &Keys{engine} }

// Document holds what a document's path template may use.
type Document struct {
	AccountID       string
	TemplateID      string // without a template, html or url
	TemplateName    string
	TemplateVersion string // its number; 0 without a template
	SubmissionID    string
	ProcessedAt     time.Time
	Metadata        json.RawMessage // an object, or nothing
	Extension       string          // of the file, such as pdf
}

// Key makes the key of one document. Its error is a *platen.Failure with the code
// KEY_INVALID when the path template gives no legal key (R5.6); other errors are
// those of ctx and of the machine.
func (k *Keys) Key(ctx context.Context, pathTemplate string, d Document) (string, error) {
	metadata, err := k.metadata(ctx, pathTemplate, d.Metadata)
	if err != nil {
		return "", keyFailure(err)
	}
	at := d.ProcessedAt.UTC()
	vars, err := json.Marshal(map[string]any{
		"account_id":       d.AccountID,
		"template_id":      d.TemplateID,
		"template_name":    sanitize(d.TemplateName),
		"template_version": d.TemplateVersion,
		"submission_id":    d.SubmissionID,
		"extension":        d.Extension,
		"timestamp":        at.Format("20060102150405"),
		"date":             at.Format("20060102"),
		"year":             at.Format("2006"),
		"month":            at.Format("1"),
		"day":              at.Format("2"),
		"metadata":         metadata,
	})
	if err != nil {
		return "", err
	}
	source := liquid.Source{Name: "path", Text: pathTemplate}
	hash := sha256.Sum256([]byte(pathTemplate))
	texts, err := k.engine.Render(ctx, "path/"+hex.EncodeToString(hash[:]), []liquid.Source{source}, vars)
	if err != nil {
		return "", keyFailure(err)
	}
	key := texts[source.Name]
	if len(key) <= maxKey {
		key = sanitizeObjects(key)
	}
	if fault := keyFault(key); fault != "" {
		return "", fail(platen.FailureKeyInvalid, false, fmt.Sprintf(
			"The path template gave the key %s, which %s. Nothing was uploaded. Change the integration's path template or the document's metadata, then retry the action.", shownKey(key), fault))
	}
	return key, nil
}

var errNoObject = errors.New("the document's metadata is not a JSON object")

func keyFailure(err error) error {
	var mistake *liquid.Error
	if errors.As(err, &mistake) {
		failure := fail(platen.FailureKeyInvalid, false, fmt.Sprintf("No key could be made from the path template: %s. Nothing was uploaded. Change the integration's path template, then retry the action.", mistake.Message))
		failure.Line, failure.Column = mistake.Line, mistake.Column
		return failure
	}
	if errors.Is(err, errNoObject) {
		return fail(platen.FailureKeyInvalid, false, "No key could be made: "+err.Error()+". Nothing was uploaded.")
	}
	return err
}

// keyFault says what is wrong with a key, or "".
func keyFault(key string) string {
	switch {
	case key == "":
		return "is empty"
	case len(key) > maxKey:
		return fmt.Sprintf("has %d bytes; a key has at most %d", len(key), maxKey)
	case !utf8.ValidString(key):
		return "is not valid UTF-8"
	case strings.HasPrefix(key, "/"):
		return "starts with a slash"
	case strings.HasSuffix(key, "/"):
		return "ends with a slash"
	}
	for _, r := range key {
		// U+FFFE and U+FFFF cannot stand in XML, in which a bucket is listed.
		if unicode.IsControl(r) || r == '\uFFFE' || r == '\uFFFF' {
			return fmt.Sprintf("contains the control character %U", r)
		}
	}
	for segment := range strings.SplitSeq(key, "/") {
		switch segment {
		case "":
			return "has nothing between two slashes"
		case ".", "..":
			return fmt.Sprintf("has %q between its slashes", segment)
		}
	}
	return ""
}

// shownKey is the beginning of a key in quotes.
func shownKey(key string) string {
	const most = 100
	if runes := []rune(key); len(runes) > most {
		return strconv.Quote(string(runes[:most])) + "…"
	}
	return strconv.Quote(key)
}

// Check refuses a path template that does not parse or that uses an unknown
// variable, with a *platen.Error, and warns of one whose keys may not be unique
// (R5.6). Other errors are those of ctx and of the machine.
func (k *Keys) Check(ctx context.Context, pathTemplate string) (warnings []string, err error) {
	if strings.TrimSpace(pathTemplate) == "" {
		return nil, &platen.Error{Code: platen.CodeRequired, Message: "A path template is required, such as " + platen.DefaultSubmissionPath + "."}
	}
	if n := utf8.RuneCountInString(pathTemplate); n > maxPathTemplate {
		return nil, &platen.Error{Code: platen.CodeTooLong, Message: fmt.Sprintf("A path template has at most %d characters; this has %d.", maxPathTemplate, n)}
	}
	used, err := k.engine.Variables(ctx, liquid.Source{Name: "path", Text: pathTemplate})
	var mistake *liquid.Error
	if errors.As(err, &mistake) {
		return nil, &platen.Error{
			Code: platen.CodePathTemplateInvalid, Line: mistake.Line, Column: mistake.Column,
			Message: "The path template is not valid Liquid: " + mistake.Message + ".",
		}
	}
	if err != nil {
		return nil, err
	}
	unique := false
	for _, variable := range used {
		name := variable.Path[0]
		if !slices.Contains(Variables, name) {
			return nil, &platen.Error{
				Code: platen.CodePathTemplateInvalid, Line: variable.Line, Column: variable.Column,
				Message: fmt.Sprintf("There is no variable %s. A path template may use %s.", name, strings.Join(Variables, ", ")),
			}
		}
		unique = unique || name == "submission_id"
	}
	if !unique {
		warnings = append(warnings, "No variable in this path is unique: two documents can get the same key, and the later one replaces the earlier. Add {{ submission_id }}.")
	}
	return warnings, nil
}

// metadata makes a document's metadata safe to print anywhere in a key.
func (k *Keys) metadata(ctx context.Context, pathTemplate string, raw json.RawMessage) (map[string]any, error) {
	metadata := map[string]any{}
	if len(bytes.TrimSpace(raw)) == 0 {
		return metadata, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if decoder.Decode(&metadata) != nil {
		return nil, errNoObject
	}
	c := &cleaner{named: func() (map[string]bool, error) {
		used, err := k.engine.Variables(ctx, liquid.Source{Name: "path", Text: pathTemplate})
		names := map[string]bool{}
		for _, variable := range used {
			for _, name := range variable.Path {
				names[name] = true
			}
		}
		return names, err
	}}
	clean := c.object(metadata)
	return clean, c.err
}

// cleaner replaces unsafe characters in values, at any depth. It does the same to
// the names in objects, as a loop can print them; but a name that the template itself
// spells out stays, or it could not be found.
type cleaner struct {
	named func() (map[string]bool, error)
	names map[string]bool // what named said
	err   error
}

func (c *cleaner) object(object map[string]any) map[string]any {
	clean := make(map[string]any, len(object))
	// In order, so that of two names that become one the same is kept each time.
	for _, name := range slices.Sorted(maps.Keys(object)) {
		safe := c.name(name)
		_, taken := clean[safe]
		if _, other := object[safe]; safe == name || !taken && !other {
			clean[safe] = c.value(object[name])
		}
	}
	return clean
}

func (c *cleaner) name(name string) string {
	safe := sanitize(name)
	if safe == name || c.err != nil {
		return name
	}
	if c.names == nil {
		c.names, c.err = c.named()
	}
	if c.names[name] {
		return name
	}
	return safe
}

func (c *cleaner) value(value any) any {
	switch v := value.(type) {
	case string:
		return sanitize(v)
	case json.Number:
		return number(v)
	case []any:
		clean := make([]any, len(v))
		for i := range v {
			clean[i] = c.value(v[i])
		}
		return clean
	case map[string]any:
		return c.object(v)
	}
	return value
}

// number keeps a number that prints safely. An exponent has a plus sign, so such a
// number becomes a text.
func number(n json.Number) any {
	if !strings.ContainsAny(n.String(), ".eE") {
		return n
	}
	printed := n.String() // where it is too large to be a number
	if f, err := n.Float64(); err == nil {
		printed = fmt.Sprint(f)
	}
	if safe := sanitize(printed); safe != printed {
		return safe
	}
	return n
}

// sanitizeObjects applies the rule of values to the objects that a template printed
// whole: Liquid prints them as JSON.
func sanitizeObjects(key string) string {
	for at := 0; ; at++ {
		next := strings.IndexByte(key[at:], '{')
		if next < 0 {
			return key
		}
		at += next
		var object json.RawMessage
		if json.NewDecoder(strings.NewReader(key[at:])).Decode(&object) == nil {
			key = key[:at] + sanitize(string(object)) + key[at+len(object):]
		}
	}
}

// sanitize replaces each character outside 0-9 a-z A-Z ! - _ . * ' ( ), and each
// byte that is no character, by one underscore (R5.5;
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html#object-key-guidelines-safe-characters).
func sanitize(text string) string {
	var safe strings.Builder
	for _, r := range text {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', strings.ContainsRune("!-_.*'()", r):
			safe.WriteRune(r)
		default:
			safe.WriteByte('_')
		}
	}
	return safe.String()
}
