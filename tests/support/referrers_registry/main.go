// A registry with the referrers API, in memory: go-containerregistry's, whose own program leaves that API switched off.
// The tests push to it and put it behind the gateway (tests/support/switched_upstream.py). scripts/clients builds it.
package main

import (
	"flag"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	address := flag.String("address", "127.0.0.1:5000", "host:port to listen on")
	flag.Parse()
	server := &http.Server{
		Addr:              *address,
		ReadHeaderTimeout: 5 * time.Second,
		Handler:           registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))),
	}
	log.Fatal(server.ListenAndServe())
}
