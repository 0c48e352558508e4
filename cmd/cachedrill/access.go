package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/failover"
)

// Passwords come from the environment: others see the arguments of a program.
const (
	passwordVariable         = "CACHEDRILL_PASSWORD"
	sentinelPasswordVariable = "CACHEDRILL_SENTINEL_PASSWORD"
)

// access says how the cluster behind -sentinels is reached.
type access struct {
	user, sentinelUser string
	tls                bool
	authorities        string // a file; "": those of the system
}

// validate checks what can be checked before anything is read.
func (a access) validate() error {
	if a.authorities != "" && !a.tls {
		return errors.New("-tls-ca: only with -tls")
	}
	return nil
}

// read returns the access, with the passwords of the environment.
func (a access) read() (failover.Access, error) {
	read := failover.Access{
		Server:   failover.Login{Username: a.user, Password: os.Getenv(passwordVariable)},
		Sentinel: failover.Login{Username: a.sentinelUser, Password: os.Getenv(sentinelPasswordVariable)},
	}
	if !a.tls {
		return read, nil
	}
	read.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if a.authorities == "" {
		return read, nil
	}
	text, err := os.ReadFile(a.authorities)
	if err != nil {
		return read, fmt.Errorf("-tls-ca: %w", err)
	}
	read.TLS.RootCAs = x509.NewCertPool()
	if !read.TLS.RootCAs.AppendCertsFromPEM(text) {
		return read, fmt.Errorf("-tls-ca: %s has no certificate in PEM form", a.authorities)
	}
	return read, nil
}
