package access_test

import (
	"strings"
	"testing"

	"github.com/mediocregopher/radix/v4/resp/resp3"

	"github.com/holdfast-go/holdfast/sentinel/internal/access"
)

// The time may be over before it is known which rights are missing; the advice was "ACL SETUSER one
// +" then.
func TestTheAdviceNamesARightInAnyCase(t *testing.T) {
	refused := resp3.SimpleError{S: "NOPERM this user has no permissions to run the 'sentinel|replicas' command"}
	for _, c := range []struct {
		found []string
		err   error
		want  string
	}{
		{[]string{"sentinel|master", "sentinel|replicas"}, refused, "sentinel|master sentinel|replicas"},
		{nil, refused, "sentinel|replicas"},
		{nil, resp3.SimpleError{S: "NOPERM"}, "sentinel"},
	} {
		if got := strings.Join(access.Needed(c.found, c.err), " "); got != c.want {
			t.Errorf("%v, %v: %q, want %q", c.found, c.err, got, c.want)
		}
	}
}
