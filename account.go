package platen

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Account owns everything else (R1.1).
type Account struct {
	ID        string    `db:"id"`
	Name      string    `db:"name"`
	CreatedAt time.Time `db:"created_at"`
}

// MaxName is the most characters of a name.
const MaxName = 200

// ValidateName says what is wrong with the name of an account, a token, a
// template or an integration, found at path.
func ValidateName(name string, path ...string) Errors {
	var errs Errors
	switch {
	case strings.TrimSpace(name) == "":
		errs.Add(CodeRequired, "A name is required.", path...)
	case utf8.RuneCountInString(name) > MaxName:
		errs.Add(CodeTooLong, fmt.Sprintf("A name has at most %d characters.", MaxName), path...)
	default:
		errs = ValidateText(name, path...)
		if len(errs) == 0 && strings.ContainsFunc(name, unicode.IsControl) {
			errs.Add(CodeInvalid, "A name is one line, without line breaks, tabs or other control characters.", path...)
		}
	}
	return errs
}

// ValidateText refuses what PostgreSQL cannot store as text: the character U+0000
// and what is not UTF-8 (https://www.postgresql.org/docs/15/datatype-character.html).
func ValidateText(text string, path ...string) Errors {
	var errs Errors
	switch {
	case strings.IndexByte(text, 0) >= 0:
		errs.Add(CodeInvalid, "The character U+0000 is not allowed; remove it.", path...)
	case !utf8.ValidString(text):
		errs.Add(CodeInvalid, "The text is not valid UTF-8.", path...)
	}
	return errs
}

// Environment says whether a token, or a document, is live or a test.
type Environment string

// The environments (R1.2).
const (
	Live Environment = "LIVE"
	Test Environment = "TEST"
)

// TokenScope is what an API token may do. Scopes nest: ADMIN holds WRITE holds READ.
type TokenScope string

// The scopes, each including those before it.
const (
	ScopeRead  TokenScope = "READ"
	ScopeWrite TokenScope = "WRITE"
	ScopeAdmin TokenScope = "ADMIN"
)

// Includes tells whether a token of scope s may do what needs scope want.
func (s TokenScope) Includes(want TokenScope) bool {
	rank := map[TokenScope]int{ScopeRead: 1, ScopeWrite: 2, ScopeAdmin: 3}
	return rank[s] > 0 && rank[s] >= rank[want]
}

// APIToken is a key to an account. Its secret is shown once and stored as a hash.
type APIToken struct {
	AccountID   string      `db:"account_id"`
	ID          string      `db:"id"`
	Name        string      `db:"name"`
	Environment Environment `db:"environment"`
	Scope       TokenScope  `db:"scope"`
	Hint        string      `db:"hint"` // the last four characters of the secret
	CreatedAt   time.Time   `db:"created_at"`
	LastUsedAt  *time.Time  `db:"last_used_at"` // to the minute
	ExpiresAt   *time.Time  `db:"expires_at"`
	RevokedAt   *time.Time  `db:"revoked_at"`
}

// TestOnly tells whether the token sees and makes test documents only (R1.2).
func (t *APIToken) TestOnly() bool { return t.Environment == Test }

// NewTokenSecret makes the secret of an API token: 43 random characters, 256 bits,
// after a prefix by which people and secret scanners know what it is.
func NewTokenSecret(env Environment) string {
	return "platen_" + strings.ToLower(string(env)) + "_" + RandomString(43)
}

// HashTokenSecret is what is stored of a token's secret. A secret of 256 random
// bits needs no salt and no slow hash: there is nothing to guess.
func HashTokenSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// TokenHint is what is shown of a secret, so that people can tell tokens apart.
func TokenHint(secret string) string {
	if len(secret) <= 4 {
		return secret
	}
	return secret[len(secret)-4:]
}
