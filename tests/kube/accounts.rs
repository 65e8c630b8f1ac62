//! ServiceAccounts as clients of the hub: whose a token is and what its account may do, the API server says.

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, RoleBinding};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::cluster::{cluster, documents};
use crate::hub::Hub;
use crate::way::Way;

/// Makes an account, and a token for it and an audience.
pub async fn token(client: &Client, namespace: &str, name: &str, audience: &str) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    accounts.patch(name, &PatchParams::apply("test"), &Patch::Apply(&account)).await.unwrap();
    let request = TokenRequest {
        spec: TokenRequestSpec { audiences: vec![audience.to_owned()], ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let made = accounts.create_token_request(name, &PostParams::default(), &request).await.unwrap();
    made.status.unwrap().token
}

/// The name of a binding that [`bind`] makes.
pub fn binding(namespace: &str, name: &str, role: &str) -> String {
    format!("{name}-{role}-{namespace}")
}

/// Binds a cluster role to an account, in its namespace or everywhere.
pub async fn bind(client: &Client, namespace: &str, name: &str, role: &str, everywhere: bool) {
    let kind = if everywhere { "ClusterRoleBinding" } else { "RoleBinding" };
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": binding(namespace, name, role)},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    });
    if everywhere {
        let binding: k8s_openapi::api::rbac::v1::ClusterRoleBinding = serde_json::from_value(binding).unwrap();
        Api::all(client.clone()).create(&PostParams::default(), &binding).await.unwrap();
    } else {
        let binding: RoleBinding = serde_json::from_value(binding).unwrap();
        Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &binding).await.unwrap();
    }
}

pub async fn install_roles(client: &Client) {
    for document in documents(include_str!("../../schema/rbac-reviews.yaml")) {
        let role: ClusterRole = serde_json::from_value(document).unwrap();
        let name = role.metadata.name.clone().unwrap();
        let api: Api<ClusterRole> = Api::all(client.clone());
        api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&role)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_may_do_at_the_hub_what_its_roles_say_and_without_any_nothing() {
    let Some(cluster) = cluster().await else { return };
    let (client, namespace) = (cluster.admin().await, cluster.namespace().await);
    install_roles(&client).await;
    let way = Way::to(&cluster).await;
    let account = way.kubeconfig(&cluster.service_account(&namespace, "koh").await);
    let args = ["--kubernetes-namespace", &namespace, "--lease-namespace", &namespace];
    let hub = Hub::ready(&account, &[&args[..], &["--token-review", "--token-namespace", &namespace]].concat()).await;
    let reader = token(&client, &namespace, "reader", "koh").await;
    let url = format!("{}/api/v1/hosts", hub.address());
    let (get, post) = (reqwest::Method::GET, reqwest::Method::POST);
    let ask = async |method: &reqwest::Method, token: &str| {
        let url = if *method == post { format!("{}/api/v1/ingest/hosts", hub.address()) } else { url.clone() };
        let request = reqwest::Client::new().request(method.clone(), url).bearer_auth(token);
        let request = if *method == post { request.json(&json!({"name": "edge-1"})) } else { request };
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };

    // The hub itself may not ask yet: nobody gets in, and nobody is told that his token is wrong.
    let (status, said) = ask(&get, &reader).await;
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("schema/rbac-reviews.yaml"), "{said}");
    bind(&client, &namespace, "koh", "koh-token-review", true).await;
    hub.wait("the hub may ask", || async { (ask(&get, &reader).await.0 != 503).then_some(()) }).await;

    let (status, said) = ask(&get, &reader).await;
    assert_eq!(status, 403, "{said}");
    assert!(said.contains(&format!("system:serviceaccount:{namespace}:reader may not read here")), "{said}");
    bind(&client, &namespace, "reader", "koh-reader", false).await;
    hub.wait("the account may read", || async { (ask(&get, &reader).await.0 == 200).then_some(()) }).await;
    assert_eq!(ask(&post, &reader).await.0, 403, "who reads does not report");
    bind(&client, &namespace, "reader", "koh-reporter", false).await;
    hub.wait("the account may report", || async { (ask(&post, &reader).await.0 == 200).then_some(()) }).await;

    assert_eq!(ask(&get, &token(&client, &namespace, "reader", "other").await).await.0, 401, "made for others");
    assert_eq!(ask(&get, "eyJhbGciOiJub25lIn0.e30.c2ln").await.0, 401);
    let elsewhere = cluster.namespace().await;
    let namesake = token(&client, &elsewhere, "reader", "koh").await;
    assert_eq!(ask(&get, &namesake).await.0, 403, "an account of another namespace is another");
    Api::<ServiceAccount>::namespaced(client.clone(), &elsewhere)
        .delete("reader", &DeleteParams::default())
        .await
        .unwrap();

    // What was answered lately is good while the API server is away; whom nobody vouched for yet waits for it.
    let known = token(&client, &namespace, "known", "koh").await;
    bind(&client, &namespace, "known", "koh-reader", false).await;
    hub.wait("the other may read", || async { (ask(&get, &known).await.0 == 200).then_some(()) }).await;
    way.cut();
    assert_eq!(ask(&get, &known).await.0, 200);
    assert_eq!(ask(&get, &token(&client, &namespace, "later", "koh").await).await.0, 503);
    way.mend();
    assert_eq!(ask(&get, "koh_0123").await.0, 401);
}
