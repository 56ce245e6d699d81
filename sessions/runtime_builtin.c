/*
 * The runtimes that need no configuration. One of the same name in the configuration takes the
 * place of the one here.
 */
#include "runtime.h"

static const struct {
	const char *name, *json;
} builtin[] = {
    {"python-minimal", "{\"base_image\": \"python:3.12-slim\"}"},
    {"python-datascience",
     "{\"base_image\": \"python:3.12-slim\","
     " \"packages\": [\"pandas\", \"numpy\", \"matplotlib\", \"scikit-learn\", \"seaborn\"]}"},
    {"python-web", "{\"base_image\": \"python:3.12-slim\","
		   " \"packages\": [\"fastapi\", \"uvicorn\", \"sqlalchemy\", \"httpx\"]}"},
    {"node-minimal", "{\"base_image\": \"node:20-slim\", \"workdir\": \"/app\"}"},
    {"node-react",
     "{\"base_image\": \"node:20-slim\", \"package_manager\": \"npm\", \"workdir\": \"/app\","
     " \"packages\": [\"typescript\", \"vite\", \"react\", \"react-dom\", \"@types/react\"]}"},

    {"python-analytics",
     "{\"base_image\": \"python:3.12-slim\","
     " \"packages\": [\"pandas\", \"polars\", \"duckdb\", \"pyarrow\", \"openpyxl\","
     " \"matplotlib\"]}"},
    {"python-scraping",
     "{\"base_image\": \"python:3.12-slim\","
     " \"packages\": [\"httpx\", \"requests\", \"beautifulsoup4\", \"lxml\", \"parsel\"]}"},
    {"python-documents",
     "{\"base_image\": \"python:3.12-slim\","
     " \"packages\": [\"pypdf\", \"python-docx\", \"python-pptx\", \"openpyxl\", \"reportlab\","
     " \"markdown\"]}"},
    {"node-typescript",
     "{\"base_image\": \"node:20-slim\", \"package_manager\": \"npm\", \"workdir\": \"/app\","
     " \"packages\": [\"typescript\", \"tsx\", \"@types/node\"]}"},
    {"bun", "{\"base_image\": \"oven/bun:1-slim\", \"workdir\": \"/app\"}"},
    {"deno", "{\"base_image\": \"denoland/deno:debian\", \"workdir\": \"/app\"}"},
    {"go", "{\"base_image\": \"golang:1.24-bookworm\"}"},
    {"rust", "{\"base_image\": \"rust:1-slim-bookworm\"}"},

    /* Debian calls fd fdfind. */
    {"coding",
     "{\"base_image\": \"python:3.12-slim-bookworm\", \"package_manager\": \"apt\","
     " \"setup_commands\": [\"ln -s /usr/bin/fdfind /usr/local/bin/fd\"],"
     " \"packages\": [\"ca-certificates\", \"git\", \"curl\", \"ripgrep\", \"fd-find\", \"jq\"]}"},
    {"polyglot",
     "{\"base_image\": \"debian:bookworm-slim\", \"package_manager\": \"apt\","
     " \"setup_commands\": [\"ln -s /usr/bin/python3 /usr/local/bin/python\"],"
     " \"packages\": [\"ca-certificates\", \"git\", \"curl\", \"make\", \"gcc\", \"g++\","
     " \"libc6-dev\", \"python3\", \"python3-pip\", \"python3-venv\", \"nodejs\", \"npm\","
     " \"golang-go\", \"rustc\", \"cargo\"]}"},
};

const char *runtime_builtin(size_t i, const char **ret_name)
{
	if (i >= ARRAY_SIZE(builtin))
		return NULL;
	*ret_name = builtin[i].name;
	return builtin[i].json;
}
