package endpoints_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"

	"github.com/holdfast-go/holdfast/internal/endpoints"
)

// zone is a resolver that says what it was asked.
type zone struct{ asked string }

var errSome = errors.New("some are malformed")

func (z *zone) LookupHost(_ context.Context, host string) ([]string, error) {
	z.asked = host
	return []string{"10.0.0.1", "fd00::1"}, nil
}

func (z *zone) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	z.asked = service + "/" + proto + "/" + name
	return "", []*net.SRV{{Target: "b.example.", Port: 2}, {Target: "a.example", Port: 1}}, errSome
}

func TestAsk(t *testing.T) {
	for _, tt := range []struct {
		question endpoints.Question
		asked    string
		want     []string
		err      error
	}{
		{endpoints.Question{Name: "n", Port: 7}, "n", []string{"10.0.0.1:7", "[fd00::1]:7"}, nil},
		{endpoints.Question{Name: "n", Service: "s"}, "s/tcp/n", []string{"b.example:2", "a.example:1"}, errSome},
		{endpoints.Question{Name: "n", Service: endpoints.BareName}, "//n", []string{"b.example:2", "a.example:1"}, errSome},
	} {
		z := &zone{}
		got, err := tt.question.Ask(t.Context(), z)
		if !slices.Equal(got, tt.want) || !errors.Is(err, tt.err) || z.asked != tt.asked {
			t.Errorf("%+v asks for %q and gives %q, %v; want %q, %q, %v", tt.question, z.asked, got, err, tt.asked, tt.want, tt.err)
		}
	}
}

func TestUsable(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"10.0.0.1:80": true, "[fd00::1]:80": true, "[fe80::1%eth0]:80": true, "a_b.c-d:1": true,
		"0.0.0.0:80": false, "[::]:80": false, "a:0": false, "a:65536": false, "a:x": false, ":80": false, "a": false, "a/b:80": false, "u@h:80": false,
	} {
		if got := endpoints.Usable(endpoint); got != want {
			t.Errorf("Usable(%q) = %v, want %v", endpoint, got, want)
		}
	}
}
