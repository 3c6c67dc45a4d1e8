package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"platen"
	"platen/storage"
)

// maxKey is the most characters of an idempotency key.
const maxKey = 255

// once is a call that is to be carried out once, however often it comes (R3.9). Without
// a key it claims nothing and is carried out each time.
type once struct {
	// ResultID is what an earlier call with the same key and input made; "": there was none.
	ResultID string

	pipeline       *Pipeline
	scope          storage.Scope
	operation, key string
	message        string // the input, as it is signed
}

// once looks whether a call was made before. It comes before anything else is judged:
// what was accepted once is answered the same way although it could not be accepted now.
// The error is platen.Errors when the caller can mend it.
func (p *Pipeline) once(ctx context.Context, scope storage.Scope, operation, key string, input any) (*once, error) {
	o := &once{pipeline: p, scope: scope, operation: operation, key: key}
	if key == "" {
		return o, nil
	}
	var errs platen.Errors
	if utf8.RuneCountInString(key) > maxKey {
		errs.Add(platen.CodeTooLong, fmt.Sprintf("An idempotency key has at most %d characters.", maxKey), "idempotencyKey")
	} else {
		errs = platen.ValidateText(key, "idempotencyKey")
	}
	if len(errs) > 0 {
		return nil, errs
	}
	text, err := json.Marshal(input)
	if err != nil {
		return nil, err
	}
	o.message = string(text)
	use, err := p.DB.KeyUse(ctx, scope, operation, key)
	if errors.Is(err, storage.ErrNotFound) {
		return o, nil
	}
	if err != nil {
		return nil, err
	}
	return o, o.repeated(use)
}

// idempotencyPurpose keeps the signatures of inputs apart from all others. A plain hash
// of an input would tell a short password in it to whoever tries them all.
const idempotencyPurpose = "idempotency"

// claim notes in a transaction that it makes resultID for this call. If an equal call
// was first after all, ResultID is set, and nothing is to be made.
func (o *once) claim(ctx context.Context, tx *storage.Tx, resultID string) error {
	if o.key == "" {
		return nil
	}
	use := storage.KeyUse{Input: o.pipeline.Keyring.Sign(idempotencyPurpose, o.message), ResultID: resultID}
	earlier, err := tx.ClaimKey(ctx, o.scope, o.operation, o.key, use)
	if err != nil || earlier == nil {
		return err
	}
	return o.repeated(*earlier)
}

func (o *once) repeated(use storage.KeyUse) error {
	if !o.pipeline.Keyring.Verify(idempotencyPurpose, o.message, use.Input) {
		return platen.Errors{{Code: platen.CodeKeyReused, Path: []string{"idempotencyKey"},
			Message: "This idempotency key came with other arguments within the last 24 hours. Use a new key for a new call."}}
	}
	o.ResultID = use.ResultID
	return nil
}
