package groupcache_test

import (
	"context"
	"errors"
	"net/http"
)

// nowhere has every request fail at once.
func nowhere(context.Context) http.RoundTripper {
	return roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("there is no network") })
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
