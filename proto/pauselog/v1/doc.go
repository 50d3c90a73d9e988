package pauselogv1

//go:generate go run github.com/pauselog/pauselog/internal/protogen
