# Each output is the next thing to type.

output "dispatcher_url" {
  description = "Where webhooks and dispatch calls go."
  value       = local.dispatcher_url
}

output "runner_url" {
  description = "CLAUDE_CLOUD_RUN_URL."
  value       = local.runner_url
}

output "webhook_url" {
  description = "For the GitHub App."
  value       = "${local.dispatcher_url}/webhook/github"
}

output "build_and_deploy" {
  description = "Builds both images and deploys them."
  value       = "gcloud builds submit --project ${var.project_id} --region ${var.region} --gcs-source-staging-dir gs://${google_storage_bucket.source.name}/source --substitutions _REGION=${var.region},_ENVIRONMENT=${var.environment} --config cloudbuild.yaml ."
}

output "store_secrets" {
  description = "One command for each secret; the value is read from standard input."
  value       = [for name in keys(local.secrets) : "gcloud secrets versions add ${name} --project ${var.project_id} --data-file=-"]
}

output "read_logs" {
  description = "What the two services said last."
  value       = [for name in [local.dispatcher, local.runner] : "gcloud run services logs read ${name} --project ${var.project_id} --region ${var.region} --limit 50"]
}

output "images" {
  description = "Where images are pushed to."
  value       = local.image_path
}

output "jobs" {
  description = "The runner jobs, by resource class and image."
  value       = { for name, job in google_cloud_run_v2_job.runner : name => job.name }
}
