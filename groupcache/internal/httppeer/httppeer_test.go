package httppeer_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/groupcache/internal/httppeer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const base = "/_groupcache/"

func FuzzPaths(f *testing.F) {
	for _, s := range []string{"", ".", "..", "/", "a/b", "%2F", "a b+c", "\xff", "%zz", "?#"} {
		f.Add(s, s)
		f.Add("g", s)
	}
	f.Fuzz(func(t *testing.T, group, key string) {
		escaped := base + httppeer.Escape(group) + "/" + httppeer.Escape(key)
		u, err := url.ParseRequestURI(escaped)
		if err != nil {
			t.Fatalf("%q: %v", escaped, err)
		}
		g, k, ok := httppeer.Split(base, u.EscapedPath())
		if !ok || g != group || k != key {
			t.Errorf("%q, %q came back as %q, %q, %v", group, key, g, k, ok)
		}
	})
}

func TestPathsThatAreNone(t *testing.T) {
	for _, path := range []string{"", "/", "/_groupcache", "/_groupcache/", "/_groupcache/g", "/other/g/k", "/_groupcache/%zz/k", "/_groupcache/g/%f"} {
		if g, k, ok := httppeer.Split(base, path); ok {
			t.Errorf("%q is taken for group %q, key %q", path, g, k)
		}
	}
}

func TestSignatures(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s := httppeer.NewSigner([]byte("0123456789abcdef"), true)
	signed := func() http.Header {
		h := http.Header{}
		s.Sign(h, "PUT", base+"g/k", []byte("body"), now)
		return h
	}
	check := func(h http.Header, method, path, body string, at time.Time) error {
		digest, err := s.Verify(h, method, path, at)
		if err == nil && !digest.Of([]byte(body)) {
			err = httppeer.ErrBadSignature
		}
		return err
	}
	if err := check(signed(), "PUT", base+"g/k", "body", now.Add(30*time.Second)); err != nil {
		t.Errorf("a good one: %v", err)
	}
	tampered := signed()
	tampered.Set("X-Holdfast-Time", "1700000001")
	noHex := signed()
	noHex.Set("X-Holdfast-Signature", strings.Repeat("z", 64))
	noTime := signed()
	noTime.Del("X-Holdfast-Time")
	foreign := http.Header{}
	httppeer.NewSigner([]byte("fedcba9876543210"), true).Sign(foreign, "PUT", base+"g/k", []byte("body"), now)
	for what, c := range map[string]struct {
		err  error
		want error
	}{
		"another method":  {check(signed(), "GET", base+"g/k", "body", now), httppeer.ErrBadSignature},
		"another path":    {check(signed(), "PUT", base+"g/l", "body", now), httppeer.ErrBadSignature},
		"another body":    {check(signed(), "PUT", base+"g/k", "bodY", now), httppeer.ErrBadSignature},
		"another time":    {check(tampered, "PUT", base+"g/k", "body", now), httppeer.ErrBadSignature},
		"another secret":  {check(foreign, "PUT", base+"g/k", "body", now), httppeer.ErrBadSignature},
		"not hexadecimal": {check(noHex, "PUT", base+"g/k", "body", now), httppeer.ErrBadSignature},
		"too late":        {check(signed(), "PUT", base+"g/k", "body", now.Add(31*time.Second)), httppeer.ErrSkew},
		"too early":       {check(signed(), "PUT", base+"g/k", "body", now.Add(-31*time.Second)), httppeer.ErrSkew},
		"without time":    {check(noTime, "PUT", base+"g/k", "body", now), httppeer.ErrUnsigned},
		"unsigned":        {check(http.Header{}, "PUT", base+"g/k", "body", now), httppeer.ErrUnsigned},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", what, c.err, c.want)
		}
	}
}
