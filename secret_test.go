package platen_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"platen"
	"platen/delivery"
	"platen/keyring"
	"platen/storage/blob"
)

// printed is a value as all that print would show it.
func printed(t *testing.T, value any) string {
	t.Helper()
	var out bytes.Buffer
	for _, verb := range []string{"v", "+v", "#v", "s", "q", "x", "X", "d", "+q", "10s"} {
		fmt.Fprintf(&out, "%"+verb+"\n", value)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("text", "value", value, slog.Group("group", "value", value))
	slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "value", value, slog.Group("group", "value", value))
	text, err := json.Marshal(value)
	if err != nil {
		t.Error(err)
	}
	out.Write(text)
	return out.String()
}

// holder has secrets in fields that are exported and in fields that are not.
type holder struct {
	Open   platen.Secret
	hidden platen.Secret
	In     struct{ list []platen.Secret }
	By     map[string]platen.Secret
}

func TestT14ASecretPrintsAsStars(t *testing.T) {
	t.Parallel()
	const text = "canary-of-this-test"
	secret := platen.NewSecret(text)
	held := holder{Open: secret, hidden: secret, By: map[string]platen.Secret{"a": secret}}
	held.In.list = []platen.Secret{secret}
	keys, err := keyring.Parse("Y2FuYXJ5LW9mLXRoaXMtdGVzdC1vZi0zMi1ieXRlcyE=")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]any{
		"a secret": secret, "its address": &secret, "a list": []platen.Secret{secret}, "a struct": held, "a struct's address": &held,
		"an S3 target":       delivery.Target{SecretAccessKey: secret},
		"a webhook":          delivery.Webhook{URL: "https://user:" + text + "@example.com/?key=" + text, Secret: secret},
		"a bucket's options": blob.S3Options{SecretAccessKey: secret, SessionToken: secret},
	} {
		shown := printed(t, value)
		for _, leak := range []string{text, fmt.Sprintf("%x", text), fmt.Sprintf("%X", text), fmt.Sprintf("%d", []byte(text))} {
			if name == "a webhook" {
				shown, _, _ = strings.Cut(shown, "\n{") // its JSON goes nowhere
			}
			if strings.Contains(shown, leak) {
				t.Errorf("%s shows %q:\n%s", name, leak, shown)
			}
		}
	}
	if shown := fmt.Sprintf("%v %+v %#v %q %s", secret, secret, secret, secret, secret); shown != "*** *** *** *** ***" {
		t.Error(shown)
	}
	if text, err := json.Marshal(secret); err != nil || string(text) != `"***"` {
		t.Error(string(text), err)
	}
	if shown := fmt.Sprint(platen.NewSecret("")); shown != "" || platen.NewSecret("").Reveal() != "" || secret.Reveal() != text {
		t.Errorf("none prints as %q", shown)
	}
	if shown := printed(t, keys); strings.Contains(strings.ReplaceAll(shown, "***", ""), "[") || strings.Count(shown, "***") < 10 {
		t.Errorf("keys print as %s", shown)
	}
	upload := platen.PresignedUpload{URL: "https://bucket.example/key?X-Amz-Signature=" + text, Headers: []platen.Header{{Name: "Authorization", Value: text}}}
	for _, verb := range []string{"v", "+v", "#v", "s", "q", "x", "d"} {
		if shown := fmt.Sprintf("%"+verb, upload); strings.Contains(shown, text) || shown != upload.String() {
			t.Errorf("%%%s of a presigned upload: %s", verb, shown)
		}
	}
}

// plainSecrets are the fields that hold a secret as plain text, and why.
var plainSecrets = map[string]string{
	"pipeline Request.Password":        "an address, which prints as one; its JSON is what an idempotency key signs, and goes nowhere",
	"pipeline CombineRequest.Password": "the same",
	"pipeline wishes.password":         "the same, while it is encrypted",
	"delivery/s3test key.secret":       "of the tests' server",
	"delivery/s3test Real.Secret":      "of the tests' servers",
}

// Wherever a struct holds a secret, its type keeps it from being printed. What is encrypted
// is a []byte.
func TestT14StructsHoldSecretsInATypeThatDoesNotPrint(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile(`(?i)(secret|password|sessiontoken|dsn|databaseurl|masterkey)$`)
	found, known := 0, map[string]bool{}
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (name == "graph" || name == "web" || strings.HasPrefix(entry.Name(), ".") && name != ".") {
			return fs.SkipDir // graph: what clients send, which is read once and kept by nobody
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			fields, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range fields.Fields.List {
				for _, one := range field.Names {
					if !named.MatchString(one.Name) {
						continue
					}
					found++
					what := path.Dir(name) + " " + spec.Name.Name + "." + one.Name
					typ := field.Type
					if pointer, ok := typ.(*ast.StarExpr); ok {
						typ = pointer.X
					}
					if ident, ok := typ.(*ast.Ident); !ok || ident.Name != "string" {
						continue
					}
					if known[what] = true; plainSecrets[what] == "" {
						t.Errorf("%s is a plain string: make it a platen.Secret", what)
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil || found < 10 {
		t.Error(found, err)
	}
	for what := range plainSecrets {
		if !known[what] {
			t.Errorf("%s is no plain string any more: take it out of plainSecrets", what)
		}
	}
}
