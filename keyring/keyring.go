// Package keyring holds the master keys: it encrypts secrets at rest and signs what
// Platen gives out and takes back, each with a key of its own derived from them.
package keyring

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
)

// KeySize is the length of a master key in bytes.
const KeySize = 32

// Keyring is one or more master keys: the first encrypts and signs, all decrypt and
// verify, so that a new key can be put in front while what the old one made still works.
type Keyring struct{ keys []key }

// Format implements fmt.Formatter: keys print as ***, with every verb.
func (Keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "***") }

// MarshalText implements encoding.TextMarshaler, for logs and JSON.
func (Keyring) MarshalText() ([]byte, error) { return []byte("***"), nil }

type key struct {
	id     []byte // tells which key made a ciphertext: four bytes of its hash
	cipher *subtle.AESGCM
	sign   []byte
}

// Parse reads master keys as they stand in PLATEN_SECRET_KEY: base64 of 32 bytes
// each, separated by commas.
func Parse(text string) (*Keyring, error) {
	ring := &Keyring{}
	for i, part := range strings.Split(text, ",") {
		master, err := base64.StdEncoding.DecodeString(strings.TrimSpace(part))
		if err != nil || len(master) != KeySize {
			return nil, fmt.Errorf("key %d is not base64 of %d bytes: make one with `openssl rand -base64 %d`", i+1, KeySize, KeySize)
		}
		k, err := derive(master)
		if err != nil {
			return nil, err
		}
		ring.keys = append(ring.keys, k)
	}
	return ring, nil
}

// LoadOrCreate reads the keys in a file, or makes the file with a new key.
func LoadOrCreate(path string) (*Keyring, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		text, err = create(path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the secret key: %w", err)
	}
	ring, err := Parse(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return ring, nil
}

// create writes a new key aside and links it into place, so that neither a crash
// nor a second process can leave half a key or two.
func create(path string) ([]byte, error) {
	master := make([]byte, KeySize)
	rand.Read(master)
	text := []byte(base64.StdEncoding.EncodeToString(master) + "\n")
	aside, err := os.CreateTemp(filepath.Dir(path), ".key-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(aside.Name())
	if _, err := aside.Write(text); err != nil {
		aside.Close()
		return nil, err
	}
	if err := errors.Join(aside.Sync(), aside.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(aside.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	// A link is as durable as the folder that it is in.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

func derive(master []byte) (key, error) {
	id := sha256.Sum256(append([]byte("platen key id\x00"), master...))
	encrypt, err := hkdf.Key(sha256.New, master, nil, "platen secrets at rest", KeySize)
	if err != nil {
		return key{}, err
	}
	sign, err := hkdf.Key(sha256.New, master, nil, "platen signatures", KeySize)
	if err != nil {
		return key{}, err
	}
	cipher, err := subtle.NewAESGCM(encrypt)
	return key{id: id[:4], cipher: cipher, sign: sign}, err
}

// Encrypt encrypts a secret with AES-256-GCM. It can be decrypted only with the
// same context, such as the id of the row it stands in.
func (r *Keyring) Encrypt(secret []byte, context string) ([]byte, error) {
	k := r.keys[0]
	text, err := k.cipher.Encrypt(secret, []byte(context))
	return append(append([]byte{}, k.id...), text...), err
}

// ErrUnknownKey says that none of the master keys made a ciphertext.
var ErrUnknownKey = errors.New("it was encrypted with a key that is not among the master keys")

// Decrypt undoes Encrypt.
func (r *Keyring) Decrypt(ciphertext []byte, context string) ([]byte, error) {
	for _, k := range r.keys {
		if bytes.HasPrefix(ciphertext, k.id) {
			return k.cipher.Decrypt(ciphertext[len(k.id):], []byte(context))
		}
	}
	return nil, ErrUnknownKey
}

// Sign returns a signature of the message, for one purpose, fit for a URL.
func (r *Keyring) Sign(purpose, message string) string {
	return base64.RawURLEncoding.EncodeToString(r.keys[0].mac(purpose, message))
}

// Verify tells whether a signature is one that Sign made.
func (r *Keyring) Verify(purpose, message, signature string) bool {
	given, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		return false
	}
	for _, k := range r.keys {
		if hmac.Equal(given, k.mac(purpose, message)) {
			return true
		}
	}
	return false
}

func (k key) mac(purpose, message string) []byte {
	mac := hmac.New(sha256.New, k.sign)
	mac.Write([]byte(purpose + "\x00" + message))
	return mac.Sum(nil)
}
