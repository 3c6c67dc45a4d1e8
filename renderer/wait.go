package renderer

import (
	"encoding/json"
	"fmt"
	"strings"

	"platen"

	"github.com/go-rod/rod/lib/proto"
)

// nextFrame is a promise of the next moment at which a page can have changed: its
// next frame, or soon where it draws none. Page scripts can cancel frames and timers
// by their numbers, but not tasks.
const nextFrame = "new Promise(next => { requestAnimationFrame(next); scheduler.postTask(next, {delay: 50}) })"

// await waits for the conditions of the page settings. It looks from a world of its
// own (https://chromedevtools.github.io/devtools-protocol/tot/Page/#method-createIsolatedWorld),
// in which the page's scripts can change nothing; only the expression is evaluated
// among them.
func (p *page) await(tab session, j *job) error {
	if j.wait.Selector != "" {
		if err := p.awaitSelector(tab, j); err != nil {
			return err
		}
	}
	if j.wait.Expression != "" {
		if err := p.awaitExpression(tab, j); err != nil {
			return err
		}
	}
	// What has no addresses can make no request.
	if j.wait.NetworkIdle && j.addresses {
		j.waiting("waitFor.networkIdle", "half a second without a request")
		return p.assets.idle(tab.ctx)
	}
	return nil
}

// waiting says that the job is at a condition.
func (j *job) waiting(condition, what string) {
	j.doing("waiting for " + what + " (" + condition + ")")
	j.condition = condition
}

func (p *page) awaitSelector(tab session, j *job) error {
	j.waiting("waitFor.selector", "an element that matches "+quoted(j.wait.Selector))
	world, err := p.world(tab)
	if err != nil {
		return err
	}
	selector, err := json.Marshal(j.wait.Selector)
	if err != nil {
		return err
	}
	// Without scripts, a loaded document does not change any more.
	answer, err := proto.RuntimeEvaluate{ContextID: world, AwaitPromise: true, Expression: fmt.Sprintf(
		"(async (selector, changes) => { while (!document.querySelector(selector)) { if (!changes) return false; await %s } return true })(%s, %t)",
		nextFrame, selector, p.owner.scripts)}.Call(tab)
	if err != nil {
		return err
	}
	if answer.ExceptionDetails != nil {
		return renderFailure(platen.FailureRenderFailed, false,
			fmt.Sprintf("waitFor.selector is not a CSS selector: %s. Correct it.", quoted(j.wait.Selector)), nil)
	}
	if !answer.Result.Value.Bool() {
		return renderFailure(platen.FailureRenderTimeout, false, fmt.Sprintf("The document would never be ready: no element matches %s "+
			"(waitFor.selector), and without scripts none can come. Correct the selector or the page.", quoted(j.wait.Selector)),
			map[string]any{"step": j.step, "condition": j.condition})
	}
	return nil
}

// asFunction makes a function of an expression. The lines of their own are for
// comments in it.
func asFunction(expression string) string { return "async () => !!(await (\n" + expression + "\n))" }

// checkExpression finds mistakes of syntax before anything is loaded.
func checkExpression(tab session, expression string) error {
	if expression == "" {
		return nil
	}
	answer, err := proto.RuntimeEvaluate{Expression: asFunction(expression)}.Call(tab)
	if err == nil && answer.ExceptionDetails != nil {
		return renderFailure(platen.FailureRenderFailed, false,
			fmt.Sprintf("waitFor.expression is not a JavaScript expression: %s in %s. Correct it.", thrown(answer.ExceptionDetails), quoted(expression)), nil)
	}
	return err
}

// awaitExpression evaluates the expression frame by frame. The evaluation is the
// debugger's, which no Content-Security-Policy of the page can forbid.
func (p *page) awaitExpression(tab session, j *job) error {
	j.waiting("waitFor.expression", quoted(j.wait.Expression)+" to become true")
	world, err := p.world(tab)
	if err != nil {
		return err
	}
	for {
		answer, err := proto.RuntimeEvaluate{Expression: "(" + asFunction(j.wait.Expression) + ")()", AwaitPromise: true}.Call(tab)
		switch {
		case err != nil:
			return err
		case answer.ExceptionDetails != nil:
			j.exception = thrown(answer.ExceptionDetails)
		case answer.Result.Value.Bool():
			return nil
		default:
			j.exception = ""
		}
		if _, err := (proto.RuntimeEvaluate{ContextID: world, Expression: nextFrame, AwaitPromise: true}).Call(tab); err != nil {
			return err
		}
	}
}

// world makes an isolated world in the document.
func (p *page) world(tab session) (proto.RuntimeExecutionContextID, error) {
	made, err := proto.PageCreateIsolatedWorld{FrameID: p.frame, WorldName: "platen"}.Call(tab)
	if err != nil {
		return 0, err
	}
	return made.ExecutionContextID, nil
}

// thrown is the first line of what was thrown.
func thrown(details *proto.RuntimeExceptionDetails) string {
	text := details.Text
	if details.Exception != nil && details.Exception.Description != "" {
		text = details.Exception.Description
	} else if details.Exception != nil && !details.Exception.Value.Nil() {
		text = details.Exception.Value.String()
	}
	text, _, _ = strings.Cut(text, "\n")
	return cut(text, 200)
}

// quoted is what a message shows of a text that may be long.
func quoted(text string) string { return fmt.Sprintf("%q", cut(text, 100)) }

func cut(text string, most int) string {
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
