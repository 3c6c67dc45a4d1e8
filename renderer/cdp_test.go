package renderer

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// What is taken apart without the decoder is what the decoder makes of it; the rest is left to it.
func TestALargeAnswerIsTakenApartAsTheDecoderDoes(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("JVBERi0xLjQ", largeMessage/10)
	for message, quick := range map[string]bool{
		`{"id":7,"result":{"data":"` + long + `"},"sessionId":"8A12F"}`:                            true,
		`{"id":7,"result":{"data":"` + long + `"}}`:                                                true,
		`{"id":123456,"result":{"data":"` + long + `","sessionId":"AB"}}`:                          true,
		`{"id":1,"result":{"data":"` + long + `","sessionId":"AB"},"sessionId":"CD"}`:              true,
		`{"id":1,"result":{"data":"` + long + `,\"sessionId\":\"AB\"}"},"sessionId":"CD"}`:         true,
		`{"id":1,"result":{"data":"` + long + `,\"sessionId\":\"AB\"}"}}`:                          true,
		`{"id":1,"result":{"data":"` + long + `"},"sessionId":"` + strings.Repeat("A", 200) + `"}`: false,
		`{"id":1,"error":{"code":-32000,"message":"` + long + `"},"sessionId":"CD"}`:               false,
		`{"method":"a","params":{"data":"` + long + `"},"sessionId":"CD"}`:                         false,
		`{"sessionId":"CD","id":1,"result":{"data":"` + long + `"}}`:                               false,
		`{"id":1,"result":"` + long + `"}`:                                                         false,
		`{"id":x,"result":{"data":"` + long + `"}}`:                                                false,
		`{"id":1,"result":{"data":"short"},"sessionId":"CD"}`:                                      false,
	} {
		id, result, ok := largeAnswer([]byte(message))
		short := fmt.Sprintf("%.40s…%s", message, message[len(message)-40:])
		if ok != quick {
			t.Errorf("%s is taken apart: %v", short, ok)
		}
		var want struct {
			ID     int
			Result json.RawMessage
		}
		if ok && (json.Unmarshal([]byte(message), &want) != nil || id != want.ID || string(result) != string(want.Result)) {
			t.Errorf("%s is %d, …%s", short, id, result[len(result)-40:])
		}
	}
}
