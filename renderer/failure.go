package renderer

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"platen"
	"platen/egress"

	"github.com/go-rod/rod/lib/cdp"
)

func renderFailure(code platen.FailureCode, retryable bool, message string, details any) *platen.Failure {
	return newFailure(platen.StageRender, code, retryable, message, details)
}

func newFailure(stage platen.FailureStage, code platen.FailureCode, retryable bool, message string, details any) *platen.Failure {
	f := &platen.Failure{Stage: stage, Code: code, Message: message, Retryable: retryable, OccurredAt: time.Now().UTC()}
	if details != nil {
		f.Details, _ = json.Marshal(details) // strings and numbers only
	}
	return f
}

// failureOf says what an error of a page means for its document.
func failureOf(err error) *platen.Failure {
	var failure *platen.Failure
	var refused *cdp.Error
	switch {
	case errors.As(err, &failure):
		return failure
	case errors.Is(err, errPageCrashed):
		return renderFailure(platen.FailureRenderCrashed, false,
			"The page crashed the browser's process for it, most often by using too much memory. Make the page smaller, or its scripts need less.", nil)
	case errors.Is(err, errPageClosed):
		return renderFailure(platen.FailureRenderFailed, false, "The page closed itself: a script in it calls window.close().", nil)
	case errors.Is(err, errSentTooLarge):
		return renderFailure(platen.FailureDocumentLimit, false, fmt.Sprintf("The page is larger than %d MB. Make it smaller.", maxSent>>20), nil)
	case errors.Is(err, errReceivedTooLarge):
		return renderFailure(platen.FailureDocumentLimit, false, fmt.Sprintf("The finished file is larger than %d MB. Split the document.", maxFile>>20), nil)
	case errors.Is(err, errPageMoved):
		return renderFailure(platen.FailureRenderFailed, false,
			"The page went to another address while it was printed. Take out the refresh, or the script that sets its location.", nil)
	case errors.As(err, &refused):
		return renderFailure(platen.FailureRenderFailed, false, "The browser refused to print the page: "+refused.Message+".", nil)
	}
	return renderFailure(platen.FailureBrowserGone, true, "The browser that makes documents ended, does not start, or does not answer. Try again.", nil)
}

// timeoutFailure names what the document was waiting for.
func timeoutFailure(seconds int, j *job, loading []string) *platen.Failure {
	message := fmt.Sprintf("The document was not ready after %d s, the timeout of its page settings: it was still %s.", seconds, j.step)
	details := map[string]any{"step": j.step}
	if j.condition != "" {
		details["condition"] = j.condition
	}
	if j.exception != "" {
		message += fmt.Sprintf(" The expression throws %s.", j.exception)
		details["exception"] = j.exception
	}
	switch {
	case len(loading) > 0:
		message += fmt.Sprintf(" %s has not answered.", loading[0])
	case j.condition != "":
		message += " Correct the condition or the page, or raise the timeout."
	default:
		message += " Look for a script that does not end, make the document smaller, or raise the timeout."
	}
	if len(loading) > 0 {
		details["loading"] = loading
	}
	// Only what others were asked for can be faster the next time.
	return renderFailure(platen.FailureRenderTimeout, len(loading) > 0, message, details)
}

// assetFailure says which assets are missing, or is nil if none is.
func assetFailure(failed []asset, setting string) *platen.Failure {
	if len(failed) == 0 {
		return nil
	}
	worst := failed[0]
	retryable := true
	for _, one := range failed {
		if one.refusal == egress.RefusedDenied || one.refusal == egress.RefusedClosed {
			worst = one
		}
		retryable = retryable && one.transient()
	}
	code, reason := platen.FailureAssetFailed, worst.Error
	message := fmt.Sprintf("%s (%s) did not load", worst.URL, worst.Type)
	switch {
	case worst.refusal == egress.RefusedClosed:
		code, reason = platen.FailureEgressDenied, "the page settings switch the network off (network: false)"
		message = fmt.Sprintf("%s (%s) may not be reached", worst.URL, worst.Type)
	case worst.refusal == egress.RefusedDenied:
		code, reason = platen.FailureEgressDenied, "not a public address on port 80 or 443"
		message = fmt.Sprintf("%s (%s) may not be reached from here", worst.URL, worst.Type)
		if setting != "" {
			reason += "; the operator can open it with " + setting
		}
	case worst.Error == "":
		reason = fmt.Sprintf("HTTP status %d", worst.Status)
	}
	message += ": " + reason + "."
	if more := len(failed) - 1; more > 0 {
		message += fmt.Sprintf(" %d more did not load either.", more)
	}
	return newFailure(platen.StageAsset, code, retryable, message, map[string]any{"assets": failed[:min(len(failed), maxAssets)]})
}

// transient tells whether the same request may well succeed later.
func (a asset) transient() bool {
	switch {
	case a.refusal == egress.RefusedDenied, a.refusal == egress.RefusedClosed:
		return false
	case a.Status >= 400:
		return a.Status >= 500 || a.Status == http.StatusTooManyRequests || a.Status == http.StatusRequestTimeout
	}
	switch a.Error {
	case string(egress.RefusedConnection), string(egress.RefusedTimeout), string(egress.RefusedOther),
		"net::ERR_CONNECTION_RESET", "net::ERR_CONNECTION_CLOSED", "net::ERR_EMPTY_RESPONSE", "net::ERR_TIMED_OUT",
		"net::ERR_CONTENT_LENGTH_MISMATCH", "net::ERR_INCOMPLETE_CHUNKED_ENCODING", "net::ERR_TUNNEL_CONNECTION_FAILED":
		return true
	}
	return false
}
