// The etcd that the API server keeps its objects in.

package main

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
)

type storage struct {
	server *embed.Etcd
	client *clientv3.Client
	url    string
}

func startStorage(directory string) (*storage, error) {
	config := embed.NewConfig()
	config.Dir = filepath.Join(directory, "etcd")
	config.LogOutputs = []string{filepath.Join(directory, "etcd.log")}
	config.LogLevel = "warn"
	// Nothing of it is needed after the process.
	config.UnsafeNoFsync = true
	config.EnableGRPCGateway = false
	var urls [2]url.URL
	for i := range urls {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		urls[i] = url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}
	}
	config.ListenClientUrls, config.AdvertiseClientUrls = urls[:1], urls[:1]
	config.ListenPeerUrls, config.AdvertisePeerUrls = urls[1:], urls[1:]
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	server, err := embed.StartEtcd(config)
	if err != nil {
		return nil, fmt.Errorf("starting etcd: %w", err)
	}
	select {
	case <-server.Server.ReadyNotify():
	case <-time.After(time.Minute):
		server.Close()
		return nil, fmt.Errorf("etcd is not ready after a minute: see %s", config.LogOutputs[0])
	}
	address := urls[0].String()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{address}, DialTimeout: 10 * time.Second})
	if err != nil {
		server.Close()
		return nil, fmt.Errorf("connecting to etcd at %s: %w", address, err)
	}
	return &storage{server, client, address}, nil
}

// compact forgets every revision but the newest, whose number it returns.
func (s *storage) compact(ctx context.Context) (int64, error) {
	newest, err := s.client.Get(ctx, "/", clientv3.WithCountOnly())
	if err != nil {
		return 0, fmt.Errorf("reading the newest revision of etcd: %w", err)
	}
	revision := newest.Header.Revision
	if _, err := s.client.Compact(ctx, revision, clientv3.WithCompactPhysical()); err != nil {
		return 0, fmt.Errorf("compacting etcd at revision %d: %w", revision, err)
	}
	return revision, nil
}

func (s *storage) close() {
	_ = s.client.Close()
	s.server.Close()
}
