/* See presets.h. Later rules win, so what is an exception follows what it is of. */
#include "presets.h"

#include <stddef.h>

static const char *const read_only[] = {"readonly:/", NULL};

/* What holds passwords, tokens and private keys, by the names that tools give it. */
static const char *const secrets_hidden[] = {
    "deny:.env",
    "deny:.env.*",
    "deny:.envrc",
    "allow:.env.{example,sample,template,dist}",
    "deny:*.{pem,key,p12,pfx,jks,keystore,ppk,kdbx}",
    "deny:id_{rsa,dsa,ecdsa,ecdsa_sk,ed25519,ed25519_sk}",
    "deny:**/.ssh/**",
    "deny:**/.gnupg/**",
    "deny:**/.aws/**",
    "deny:**/.azure/**",
    "deny:**/.config/{gcloud,gh}/**",
    "deny:**/.config/git/credentials",
    "deny:**/.docker/config.json",
    "deny:**/.kube/config",
    "deny:**/.cargo/credentials{,.toml}",
    "deny:**/.gem/credentials",
    "deny:{.netrc,_netrc,.npmrc,.pypirc,.pgpass,.my.cnf,.htpasswd}",
    "deny:{.git-credentials,.vault-token,.terraformrc}",
    "deny:{credentials,secrets,client_secret*,service-account*}.json",
    "deny:secrets.{yml,yaml,toml}",
    NULL,
};

/* What other programs run or obey once they are used in the directory: git, shells, editors,
 * agents.
 */
static const char *const workspace[] = {
    "readonly:**/.git/{hooks,config,config.worktree}",
    "readonly:**/.git/modules/**/{hooks,config}",
    "readonly:{.husky,.vscode,.idea,.cursor,.claude,.codex,.mcp.json}",
    "readonly:{.bashrc,.bash_profile,.bash_login,.bash_logout,.profile,.gitconfig}",
    "readonly:{.zshrc,.zshenv,.zprofile,.zlogin,.zlogout}",
    "secrets-hidden",
    NULL,
};

const struct preset presets[] = {
    {"read-only", read_only},
    {"workspace", workspace},
    {"secrets-hidden", secrets_hidden},
    {NULL, NULL},
};
