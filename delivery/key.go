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
	"regexp"
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

// Variable is a name that a path template may use, and what it means for people.
type Variable struct{ Name, Description string }

// VariableValue is a variable with what it prints.
type VariableValue struct {
	Variable
	Value string
}

// variable is one with the kinds of path templates that have it, and its value.
type variable struct {
	Variable
	kinds []platen.PathKind
	value func(*Document) string
}

var (
	allKinds  = []platen.PathKind{platen.PathSubmission, platen.PathCombinedSubmission, platen.PathTemplateVersion}
	templated = []platen.PathKind{platen.PathSubmission, platen.PathTemplateVersion}
	documents = []platen.PathKind{platen.PathSubmission, platen.PathCombinedSubmission}
)

// variables are those of R5.4, in the order in which people should see them.
var variables = []variable{
	{Variable{"account_id", "the account"}, allKinds, func(d *Document) string { return d.AccountID }},
	{Variable{"template_id", "the template; html or url for a submission without one"}, templated, func(d *Document) string { return d.TemplateID }},
	{Variable{"template_name", "its name, with underscores for characters that are not safe in keys"}, templated, func(d *Document) string { return sanitize(d.TemplateName) }},
	{Variable{"template_version", "the number of the version; 0 for a submission without a template"}, templated, func(d *Document) string { return d.TemplateVersion }},
	{Variable{"submission_id", "the submission; no other variable is unique"}, []platen.PathKind{platen.PathSubmission}, func(d *Document) string { return d.SubmissionID }},
	{Variable{"combined_submission_id", "the combined submission; no other variable is unique"}, []platen.PathKind{platen.PathCombinedSubmission}, func(d *Document) string { return d.CombinedSubmissionID }},
	{Variable{"extension", "of the file: pdf, png, jpeg or webp"}, documents, func(d *Document) string { return d.Extension }},
	{Variable{"timestamp", "when it was processed or published, in UTC: YYYYMMDDhhmmss; not unique"}, allKinds, func(d *Document) string { return d.At.UTC().Format("20060102150405") }},
	{Variable{"date", "the day of it: YYYYMMDD"}, allKinds, func(d *Document) string { return d.At.UTC().Format("20060102") }},
	{Variable{"year", "four digits"}, allKinds, func(d *Document) string { return d.At.UTC().Format("2006") }},
	{Variable{"month", "1 to 12, without padding"}, allKinds, func(d *Document) string { return d.At.UTC().Format("1") }},
	{Variable{"day", "1 to 31, without padding"}, allKinds, func(d *Document) string { return d.At.UTC().Format("2") }},
}

// metadataVariable stands for the values of a document's metadata, by their paths.
var metadataVariable = Variable{"metadata.<key>", "a value of the metadata, by its path, with underscores for characters that are not safe in keys"}

// Variables are what a path template of a kind may use (R5.4).
func Variables(kind platen.PathKind) []Variable {
	var of []Variable
	for _, v := range variables {
		if slices.Contains(v.kinds, kind) {
			of = append(of, v.Variable)
		}
	}
	if slices.Contains(documents, kind) {
		of = append(of, metadataVariable)
	}
	return of
}

// Keys makes object keys from path templates. It is safe for concurrent use.
type Keys struct {
	engine *liquid.Engine
}

// NewKeys makes a Keys that renders with engine.
func NewKeys(engine *liquid.Engine) *Keys { return &Keys{engine} }

// Document holds what a path template may use. What its kind does not have is empty.
type Document struct {
	Kind                 platen.PathKind
	AccountID            string
	TemplateID           string // without a template, html or url
	TemplateName         string
	TemplateVersion      string // its number; 0 without a template
	SubmissionID         string
	CombinedSubmissionID string
	At                   time.Time       // when it was processed or published
	Metadata             json.RawMessage // an object, or nothing
	Extension            string          // of the file, such as pdf
}

// Sample is a document with values that could be, for previews.
func Sample(kind platen.PathKind, accountID string, metadata json.RawMessage, now time.Time) Document {
	d := Document{Kind: kind, AccountID: accountID, At: now, Metadata: metadata, Extension: "pdf"}
	if kind == platen.PathCombinedSubmission {
		d.CombinedSubmissionID = "com_4Hk2nQz8XbTfW1pRsM"
		return d
	}
	d.TemplateID, d.TemplateName, d.TemplateVersion = "tpl_eGc5CmFbPnCCmerqsx", "Invoice", "3"
	if kind == platen.PathSubmission {
		d.SubmissionID = "sub_Gbxesk7Xf52Pq3KgT9"
	}
	return d
}

// Key makes the key of one document. Its error is a *platen.Failure with the code
// KEY_INVALID when the path template gives no legal key (R5.6); other errors are
// those of ctx and of the machine.
func (k *Keys) Key(ctx context.Context, pathTemplate string, d Document) (string, error) {
	metadata, err := k.metadata(ctx, pathTemplate, d.Metadata)
	if err != nil {
		return "", keyFailure(err)
	}
	values := map[string]any{"metadata": metadata}
	for _, v := range variables {
		if slices.Contains(v.kinds, d.Kind) {
			values[v.Name] = v.value(&d)
		}
	}
	vars, err := json.Marshal(values)
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

// hopeless says why no document can get a legal key from a path template that parses,
// and where in it; "" if one can. It knows what people write by accident: text without
// any Liquid, a slash or a line break at either end.
func hopeless(pathTemplate string) (fault string, at int) {
	if !strings.Contains(pathTemplate, "{{") && !strings.Contains(pathTemplate, "{%") {
		return keyFault(pathTemplate), 0
	}
	last := len(pathTemplate) - 1 // a byte of ASCII, where it matters
	inner := strings.TrimSpace(pathTemplate)
	switch {
	case pathTemplate[0] == '/':
		return "starts with a slash", 0
	case pathTemplate[last] == '/':
		return "ends with a slash", last
	// Space that a tag with a hyphen takes away does no harm.
	case unicode.IsControl(rune(pathTemplate[0])) && !strings.HasPrefix(inner, "{{-") && !strings.HasPrefix(inner, "{%-"):
		return fmt.Sprintf("contains the control character %U", pathTemplate[0]), 0
	case unicode.IsControl(rune(pathTemplate[last])) && !strings.HasSuffix(inner, "-}}") && !strings.HasSuffix(inner, "-%}"):
		return fmt.Sprintf("contains the control character %U", pathTemplate[last]), last
	}
	return "", 0
}

// shownKey is the beginning of a key in quotes.
func shownKey(key string) string {
	const most = 100
	if runes := []rune(key); len(runes) > most {
		return strconv.Quote(string(runes[:most])) + "…"
	}
	return strconv.Quote(key)
}

// CheckKey refuses a key that somebody wrote by hand; nil: it is legal (R5.6).
func CheckKey(key string) *platen.Error {
	if fault := keyFault(key); fault != "" {
		return &platen.Error{Code: platen.CodeInvalid, Message: fmt.Sprintf("The key %s %s.", shownKey(key), fault)}
	}
	return nil
}

// Check refuses a path template of a kind that does not parse or that uses an unknown
// variable, with a *platen.Error, and warns of one whose keys may not be unique
// (R5.6). Other errors are those of ctx and of the machine.
func (k *Keys) Check(ctx context.Context, kind platen.PathKind, pathTemplate string) (warnings []string, err error) {
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
	refused := func(at int, message string) ([]string, error) {
		line, column := 1, 1
		for _, r := range pathTemplate[:at] {
			if column++; r == '\n' {
				line, column = line+1, 1
			}
		}
		return nil, &platen.Error{Code: platen.CodePathTemplateInvalid, Line: line, Column: column, Message: message}
	}
	if fault, at := hopeless(pathTemplate); fault != "" {
		return refused(at, "Every key of this path template "+fault+", and would be refused.")
	}
	if at := currentTime.FindStringIndex(pathTemplate); at != nil {
		return refused(at[0], "The time of now is another one at each attempt of an upload, so a retry would store under another key. Use timestamp, date, year, month or day: the time at which the document was processed.")
	}
	names := map[string]bool{}
	for _, variable := range used {
		name := variable.Path[0]
		if !knows(kind, name) {
			return nil, &platen.Error{
				Code: platen.CodePathTemplateInvalid, Line: variable.Line, Column: variable.Column,
				Message: fmt.Sprintf("There is no variable %s%s. This path template may use %s.", name, elsewhere(name), strings.Join(namesOf(kind), ", ")),
			}
		}
		names[name] = true
	}
	return uniqueness(kind, names), nil
}

// currentTime finds Liquid's words for the present.
var currentTime = regexp.MustCompile(`["'](now|today)["']\s*\|\s*date\b`)

// knows tells whether path templates of a kind have a variable of this name.
func knows(kind platen.PathKind, name string) bool {
	return slices.ContainsFunc(Variables(kind), func(v Variable) bool {
		return v.Name == name || v == metadataVariable && name == "metadata"
	})
}

func namesOf(kind platen.PathKind) (names []string) {
	for _, v := range Variables(kind) {
		names = append(names, v.Name)
	}
	return names
}

// elsewhere says which path templates do have a variable, if any.
func elsewhere(name string) string {
	for _, other := range []struct {
		kind platen.PathKind
		what string
	}{
		{platen.PathSubmission, "submissions"}, {platen.PathCombinedSubmission, "combined submissions"}, {platen.PathTemplateVersion, "template versions"},
	} {
		if knows(other.kind, name) {
			return " here; it is one of " + other.what
		}
	}
	return ""
}

// uniqueness warns when two documents can get the same key.
func uniqueness(kind platen.PathKind, used map[string]bool) []string {
	unique := []string{"submission_id"}
	switch kind {
	case platen.PathCombinedSubmission:
		unique = []string{"combined_submission_id"}
	case platen.PathTemplateVersion:
		unique = []string{"template_id", "template_version"}
	}
	var missing []string
	for _, name := range unique {
		if !used[name] {
			missing = append(missing, "{{ "+name+" }}")
		}
	}
	if len(missing) == 0 {
		return nil
	}
	warning := "No variable in this path is unique: two documents can get the same key, and the later one replaces the earlier. "
	if kind == platen.PathTemplateVersion {
		warning = "Two versions of templates can get the same key, and the later one replaces the earlier. "
	}
	if used["timestamp"] {
		warning += "timestamp is not unique: it counts seconds. "
	}
	return []string{warning + "Add " + strings.Join(missing, " and ") + "."}
}

// Values are the variables of a document's kind with what they print (R5.5): its
// metadata one by one, by the names at its top.
func (k *Keys) Values(ctx context.Context, d Document) ([]VariableValue, error) {
	var values []VariableValue
	for _, v := range variables {
		if slices.Contains(v.kinds, d.Kind) {
			values = append(values, VariableValue{v.Variable, v.value(&d)})
		}
	}
	if !slices.Contains(documents, d.Kind) {
		return values, nil
	}
	var metadata map[string]json.RawMessage
	if len(bytes.TrimSpace(d.Metadata)) > 0 && json.Unmarshal(d.Metadata, &metadata) != nil {
		return nil, errNoObject
	}
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		printed, err := k.prints(ctx, name, d)
		if err != nil {
			return nil, err
		}
		values = append(values, VariableValue{Variable{"metadata." + name, metadataVariable.Description}, printed})
	}
	if len(metadata) == 0 {
		values = append(values, VariableValue{Variable: metadataVariable})
	}
	return values, nil
}

// prints is what a path template prints for a name of the metadata.
func (k *Keys) prints(ctx context.Context, name string, d Document) (string, error) {
	spelt, err := json.Marshal(name) // a Liquid string is quoted and knows no escapes
	if err != nil || strings.ContainsAny(name, "\"\\") {
		return "", err
	}
	source := "{{ metadata[" + string(spelt) + "] }}"
	metadata, err := k.metadata(ctx, source, d.Metadata)
	if err != nil {
		return "", err
	}
	vars, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return "", err
	}
	texts, err := k.engine.Render(ctx, "", []liquid.Source{{Name: "path", Text: source}}, vars)
	var mistake *liquid.Error
	if errors.As(err, &mistake) {
		return "", nil // a name that Liquid cannot spell
	}
	return sanitizeObjects(texts["path"]), err
}

// Replaced tells which values that a path template uses have characters that are not
// safe in keys, and what is printed in their place; sentences for people (R5.5).
func (k *Keys) Replaced(ctx context.Context, pathTemplate string, d Document) ([]string, error) {
	used, err := k.engine.Variables(ctx, liquid.Source{Name: "path", Text: pathTemplate})
	if err != nil {
		return nil, err
	}
	var metadata any
	if len(d.Metadata) > 0 && json.Unmarshal(d.Metadata, &metadata) != nil {
		return nil, errNoObject
	}
	said := []string{}
	for _, variable := range used {
		given, ok := any(nil), false
		switch variable.Path[0] {
		case "template_name":
			given = d.TemplateName
		case "metadata":
			given = metadata
			for _, name := range variable.Path[1:] {
				object, _ := given.(map[string]any)
				given = object[name]
			}
		}
		text, ok := given.(string)
		sentence := fmt.Sprintf("%s: %s is printed as %s.", strings.Join(variable.Path, "."), shownKey(text), shownKey(sanitize(text)))
		if ok && sanitize(text) != text && !slices.Contains(said, sentence) {
			said = append(said, sentence)
		}
	}
	return said, nil
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
