//go:build !race

package s3api

const raceDetector = false
