package keyring

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const keyA, keyB = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="

func parse(t *testing.T, text string) *Keyring {
	t.Helper()
	ring, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestSecretsAreReadWithTheSameKeyAndContextOnly(t *testing.T) {
	t.Parallel()
	a, b := parse(t, keyA), parse(t, keyB)
	sealed, err := a.Encrypt([]byte("wJalrXUtnFEMI"), "int_1")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("wJalr")) {
		t.Error("the ciphertext shows the secret")
	}
	if plain, err := a.Decrypt(sealed, "int_1"); err != nil || string(plain) != "wJalrXUtnFEMI" {
		t.Errorf("Decrypt = %q, %v", plain, err)
	}
	if _, err := a.Decrypt(sealed, "int_2"); err == nil {
		t.Error("a ciphertext moved to another row was read")
	}
	if _, err := b.Decrypt(sealed, "int_1"); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("with another key: %v, want ErrUnknownKey", err)
	}
}

func TestANewKeyInFrontStillReadsWhatTheOldOneMade(t *testing.T) {
	t.Parallel()
	old, rotated := parse(t, keyA), parse(t, keyB+", "+keyA)
	sealed, err := old.Encrypt([]byte("secret"), "x")
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := rotated.Decrypt(sealed, "x"); err != nil || string(plain) != "secret" {
		t.Errorf("Decrypt = %q, %v", plain, err)
	}
	if !rotated.Verify("download", "m", old.Sign("download", "m")) {
		t.Error("a signature of the old key is refused")
	}
	if old.Verify("download", "m", rotated.Sign("download", "m")) {
		t.Error("the new key does not sign")
	}
}

func TestSignaturesHoldForOnePurposeAndMessage(t *testing.T) {
	t.Parallel()
	ring := parse(t, keyA)
	signature := ring.Sign("download", "/files/a")
	for _, c := range []struct {
		purpose, message, signature string
		want                        bool
	}{
		{"download", "/files/a", signature, true},
		{"upload", "/files/a", signature, false},
		{"download", "/files/b", signature, false},
		{"download", "/files/a", signature[:len(signature)-1], false},
		{"download", "/files/a", "", false},
		{"download", "/files/a", "!", false},
	} {
		if got := ring.Verify(c.purpose, c.message, c.signature); got != c.want {
			t.Errorf("Verify(%q, %q, %q) = %v", c.purpose, c.message, c.signature, got)
		}
	}
}

func TestMalformedKeysAreRefusedByNumber(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "short", keyA + ",", keyA + ",AAAA"} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), "openssl rand") {
			t.Errorf("Parse(%q) = %v, want an error that says how to make a key", text, err)
		}
	}
}

func TestTheKeyFileIsMadeOnceAndReadableByItsOwnerOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret.key")
	var wg sync.WaitGroup
	signatures := make([]string, 8)
	for i := range signatures {
		wg.Go(func() {
			ring, err := LoadOrCreate(path)
			if err != nil {
				t.Error(err)
				return
			}
			signatures[i] = ring.Sign("p", "m")
		})
	}
	wg.Wait()
	for _, signature := range signatures {
		if signature != signatures[0] {
			t.Fatal("two processes that start together got different keys")
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	entries, _ := os.ReadDir(filepath.Dir(path))
	if len(entries) != 1 {
		t.Errorf("files left behind: %v", entries)
	}
}
