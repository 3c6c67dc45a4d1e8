package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/lib/pq"

	"platen"
)

// MetadataHas tells whether metadata has all names of wanted with their values, as lists
// that are filtered by it judge that.
func MetadataHas(wanted json.RawMessage) func(metadata json.RawMessage) bool {
	pairs := metadataPairs(wanted)
	return func(metadata json.RawMessage) bool {
		if len(pairs) == 0 {
			return true
		}
		has := metadataPairs(metadata)
		for _, pair := range pairs {
			if !slices.ContainsFunc(has, func(one []byte) bool { return bytes.Equal(one, pair) }) {
				return false
			}
		}
		return true
	}
}

// metadataPairs are the top-level names of a metadata object with their values, each
// pair as a hash: what lists are filtered by. Values are equal as JSON values are:
// 1.0 is 1, and the order of an object's names does not matter.
func metadataPairs(metadata json.RawMessage) [][]byte {
	decoder := json.NewDecoder(strings.NewReader(string(metadata)))
	decoder.UseNumber()
	var names map[string]any
	if decoder.Decode(&names) != nil {
		return nil // absent
	}
	pairs := make([][]byte, 0, len(names))
	for name, value := range names {
		text, err := json.Marshal([]any{name, canonical(value)})
		if err != nil {
			continue // what was decoded can be encoded
		}
		sum := sha256.Sum256(text)
		pairs = append(pairs, sum[:16])
	}
	slices.SortFunc(pairs, func(x, y []byte) int { return strings.Compare(string(x), string(y)) })
	return pairs
}

// commonPair is from how many documents on a pair counts as common.
const commonPair = 1000

// rarestFirst moves the pair that fewest of the account's documents have to the front,
// where it leads the search: a page of {"year": 2026, "customer": "c4"} costs what its
// customer has, in whatever order the two are given.
func (d *DB) rarestFirst(ctx context.Context, in documentTables, accountID string, pairs [][]byte) ([][]byte, error) {
	if len(pairs) < 2 {
		return pairs, nil
	}
	var rarest []byte
	err := d.db.GetContext(ctx, &rarest, `select given.pair from unnest($2::bytea[]) as given (pair) cross join lateral
		(select count(*) as n from (select 1 from `+in.metadata+` as had where account_id = $1 and had.pair = given.pair limit $3) as found) as counted
		order by n, given.pair limit 1`, accountID, pq.ByteaArray(pairs), commonPair)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(pairs, func(pair []byte) bool { return bytes.Equal(pair, rarest) })
	pairs[0], pairs[at] = pairs[at], pairs[0]
	return pairs, nil
}

// canonical is a decoded value with its numbers in one spelling each.
func canonical(value any) any {
	switch v := value.(type) {
	case json.Number:
		return []any{"number", canonicalNumber(string(v))} // apart from a string of the same letters
	case map[string]any:
		for name, one := range v {
			v[name] = canonical(one)
		}
	case []any:
		for i, one := range v {
			v[i] = canonical(one)
		}
		return []any{"list", v}
	}
	return value
}

// canonicalNumber writes a JSON number as digits without zeros around them and an
// exponent: 12.50 and 1250e-2 are 125e-1. It works on the text, since what a short
// text such as 1e999999999 stands for can be larger than any memory.
func canonicalNumber(number string) string {
	sign := ""
	if number[0] == '-' {
		sign, number = "-", number[1:]
	}
	digits, power, _ := strings.Cut(strings.ToLower(number), "e")
	exponent, err := strconv.ParseInt(strings.TrimPrefix(power, "+"), 10, 64)
	if power != "" && err != nil {
		return sign + number // an exponent beyond all bounds is equal to itself only
	}
	whole, fraction, _ := strings.Cut(digits, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	exponent -= int64(len(fraction))
	trimmed := strings.TrimRight(digits, "0")
	if trimmed == "" {
		return "0"
	}
	return sign + trimmed + "e" + strconv.FormatInt(exponent+int64(len(digits)-len(trimmed)), 10)
}

// createMetadata inserts the pairs by which these new documents of one kind and account
// are found; previews are found by none.
func (t *Tx) createMetadata(ctx context.Context, documents []platen.AnyDocument) error {
	var ids []string
	var pairs [][]byte
	for _, d := range documents {
		if s, ok := d.(*platen.Submission); ok && s.Preview {
			continue
		}
		for _, pair := range metadataPairs(d.Common().Metadata) {
			ids, pairs = append(ids, d.Common().ID), append(pairs, pair)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	in := tablesOf(documents[0])
	// now() is the transaction's: the documents' own created_at.
	_, err := t.tx.ExecContext(ctx, `insert into `+in.metadata+` (account_id, pair, at, `+in.id+`)
		select $1, pair, now(), id from unnest($2::bytea[], $3::text[]) as new (pair, id)`, documents[0].Common().AccountID, pq.ByteaArray(pairs), pq.Array(ids))
	return err
}
