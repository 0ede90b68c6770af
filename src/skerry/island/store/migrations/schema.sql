CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE accounts (
	id VARCHAR(64) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_accounts PRIMARY KEY (id)
);

CREATE TABLE balances (
	account VARCHAR(100) NOT NULL, 
	currency VARCHAR(8) NOT NULL, 
	amount VARCHAR(80) NOT NULL, 
	CONSTRAINT pk_balances PRIMARY KEY (account, currency)
);

CREATE TABLE idempotency (
	scope VARCHAR(200) NOT NULL, 
	"key" VARCHAR(200) NOT NULL, 
	fingerprint VARCHAR(128) NOT NULL, 
	target VARCHAR(200) NOT NULL, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_idempotency PRIMARY KEY (scope, "key")
);

CREATE INDEX ix_idempotency_created_at ON idempotency (created_at);

CREATE TABLE nodes (
	id VARCHAR(64) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	detail TEXT NOT NULL, 
	CONSTRAINT pk_nodes PRIMARY KEY (id)
);

CREATE TABLE postings (
	id INTEGER NOT NULL, 
	transfer_id VARCHAR(160) NOT NULL, 
	account VARCHAR(100) NOT NULL, 
	currency VARCHAR(8) NOT NULL, 
	amount VARCHAR(80) NOT NULL, 
	memo VARCHAR(200) NOT NULL, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_postings PRIMARY KEY (id), 
	CONSTRAINT uq_postings_transfer_id_account_currency UNIQUE (transfer_id, account, currency)
);

CREATE INDEX ix_postings_account_id ON postings (account, id);

CREATE TABLE keys (
	id VARCHAR(64) NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	network VARCHAR(32) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	hint VARCHAR(32) NOT NULL, 
	created_at BIGINT NOT NULL, 
	revoked_at BIGINT, 
	CONSTRAINT pk_keys PRIMARY KEY (id), 
	CONSTRAINT fk_keys_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT uq_keys_network_digest UNIQUE (network, digest)
);

CREATE INDEX ix_keys_account_id ON keys (account_id);

CREATE TABLE sandboxes (
	id VARCHAR(64) NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	network VARCHAR(32) NOT NULL, 
	name VARCHAR(200), 
	image VARCHAR(128) NOT NULL, 
	parent_id VARCHAR(64), 
	node_id VARCHAR(64) NOT NULL, 
	suspended INTEGER NOT NULL, 
	durable INTEGER NOT NULL, 
	limits TEXT NOT NULL, 
	policy TEXT NOT NULL, 
	labels TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	last_active_at BIGINT NOT NULL, 
	deleted_at BIGINT, volumes TEXT DEFAULT '[]' NOT NULL, gpus TEXT DEFAULT '[]' NOT NULL, 
	CONSTRAINT pk_sandboxes PRIMARY KEY (id), 
	CONSTRAINT fk_sandboxes_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT fk_sandboxes_node_id FOREIGN KEY(node_id) REFERENCES nodes (id)
);

CREATE INDEX ix_sandboxes_account_id ON sandboxes (account_id);

CREATE INDEX ix_sandboxes_deleted_at ON sandboxes (deleted_at);

CREATE TABLE runs (
	seq INTEGER NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	sandbox_id VARCHAR(64) NOT NULL, 
	session_id VARCHAR(64), 
	command TEXT NOT NULL, 
	request BLOB NOT NULL, 
	background INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	cancelling INTEGER NOT NULL, 
	cause VARCHAR(32), 
	exit_code INTEGER, 
	attempts INTEGER NOT NULL, 
	labels TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	started_at BIGINT, 
	ended_at BIGINT, 
	cpu_ns BIGINT NOT NULL, 
	max_rss_bytes BIGINT NOT NULL, 
	stdout_bytes BIGINT NOT NULL, 
	stderr_bytes BIGINT NOT NULL, 
	dropped_bytes BIGINT NOT NULL, 
	currency VARCHAR(8) NOT NULL, 
	cost VARCHAR(80), 
	CONSTRAINT pk_runs PRIMARY KEY (seq), 
	CONSTRAINT fk_runs_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT fk_runs_sandbox_id FOREIGN KEY(sandbox_id) REFERENCES sandboxes (id) ON DELETE CASCADE, 
	CONSTRAINT uq_runs_id UNIQUE (id)
);

CREATE INDEX ix_runs_sandbox_id_seq ON runs (sandbox_id, seq);

CREATE TABLE sessions (
	id VARCHAR(64) NOT NULL, 
	sandbox_id VARCHAR(64) NOT NULL, 
	is_default INTEGER NOT NULL, 
	cwd TEXT NOT NULL, 
	env TEXT NOT NULL, 
	script BLOB NOT NULL, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_sessions PRIMARY KEY (id), 
	CONSTRAINT fk_sessions_sandbox_id FOREIGN KEY(sandbox_id) REFERENCES sandboxes (id) ON DELETE CASCADE
);

CREATE INDEX ix_sessions_sandbox_id ON sessions (sandbox_id);

CREATE TABLE attempts (
	run_id VARCHAR(64) NOT NULL, 
	number INTEGER NOT NULL, 
	cause VARCHAR(32) NOT NULL, 
	exit_code INTEGER NOT NULL, 
	started_at BIGINT, 
	ended_at BIGINT NOT NULL, 
	CONSTRAINT pk_attempts PRIMARY KEY (run_id, number), 
	CONSTRAINT fk_attempts_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);

CREATE TABLE arker_uploads (
	vm_id VARCHAR(64) NOT NULL, 
	upload_id VARCHAR(128) NOT NULL, 
	path TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	presigned INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	secret INTEGER NOT NULL, 
	expected VARCHAR(64), 
	digest VARCHAR(64), 
	expires_at BIGINT NOT NULL, 
	CONSTRAINT pk_arker_uploads PRIMARY KEY (vm_id, upload_id)
);

CREATE INDEX ix_arker_uploads_digest ON arker_uploads (digest);

CREATE INDEX ix_arker_uploads_expires_at ON arker_uploads (expires_at);

CREATE TABLE arker_chunks (
	vm_id VARCHAR(64) NOT NULL, 
	upload_id VARCHAR(128) NOT NULL, 
	start BIGINT NOT NULL, 
	"end" BIGINT NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_arker_chunks PRIMARY KEY (vm_id, upload_id, start, "end"), 
	CONSTRAINT fk_arker_chunks_vm_id FOREIGN KEY(vm_id, upload_id) REFERENCES arker_uploads (vm_id, upload_id) ON DELETE CASCADE
);

CREATE INDEX ix_arker_chunks_digest ON arker_chunks (digest);

CREATE TABLE arker_tunnels (
	vm_id VARCHAR(64) NOT NULL, 
	port INTEGER NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	label VARCHAR(64) NOT NULL, 
	visibility VARCHAR(16) NOT NULL, 
	protocol VARCHAR(16) NOT NULL, 
	run_id VARCHAR(64) NOT NULL, 
	host_port INTEGER, 
	CONSTRAINT pk_arker_tunnels PRIMARY KEY (vm_id, port)
);

CREATE INDEX ix_arker_tunnels_label ON arker_tunnels (label);

CREATE INDEX ix_arker_tunnels_run_id ON arker_tunnels (run_id);

CREATE TABLE arker_tickets (
	digest VARCHAR(64) NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	vm_id VARCHAR(64) NOT NULL, 
	session_id VARCHAR(64) NOT NULL, 
	command TEXT, 
	expires_at BIGINT NOT NULL, 
	CONSTRAINT pk_arker_tickets PRIMARY KEY (digest)
);

CREATE INDEX ix_arker_tickets_expires_at ON arker_tickets (expires_at);

CREATE TABLE arker_named_sessions (
	vm_id VARCHAR(64) NOT NULL, 
	name VARCHAR(128) NOT NULL, 
	session_id VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_arker_named_sessions PRIMARY KEY (vm_id, name)
);

CREATE TABLE arker_secrets (
	name VARCHAR(64) NOT NULL, 
	value BLOB NOT NULL, 
	CONSTRAINT pk_arker_secrets PRIMARY KEY (name)
);

CREATE TABLE allocations (
	id VARCHAR(80) NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	node_id VARCHAR(64) NOT NULL, 
	cpu_millis INTEGER NOT NULL, 
	memory_bytes BIGINT NOT NULL, 
	disk_bytes BIGINT NOT NULL, 
	gpus TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_allocations PRIMARY KEY (id), 
	CONSTRAINT fk_allocations_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT fk_allocations_node_id FOREIGN KEY(node_id) REFERENCES nodes (id)
);

CREATE INDEX ix_allocations_node_id ON allocations (node_id);

CREATE TABLE published_ports (
	sandbox_id VARCHAR(64) NOT NULL, 
	port INTEGER NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	host_port INTEGER NOT NULL, 
	allowed TEXT, 
	ssh INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, udp INTEGER DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_published_ports PRIMARY KEY (sandbox_id, port), 
	CONSTRAINT fk_published_ports_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT fk_published_ports_sandbox_id FOREIGN KEY(sandbox_id) REFERENCES sandboxes (id) ON DELETE CASCADE
);

CREATE TABLE ssh_grants (
	sandbox_id VARCHAR(64) NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	public_key TEXT NOT NULL, 
	metered INTEGER NOT NULL, 
	env TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_ssh_grants PRIMARY KEY (sandbox_id, fingerprint), 
	CONSTRAINT fk_ssh_grants_sandbox_id FOREIGN KEY(sandbox_id) REFERENCES sandboxes (id) ON DELETE CASCADE
);

CREATE TABLE dispersed_gpu_registry (
	uuid VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	vendor VARCHAR(64) NOT NULL, 
	vram_gb INTEGER NOT NULL, 
	cuda_cores INTEGER, 
	hourly_rate BIGINT NOT NULL, 
	multiplier_millis INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_dispersed_gpu_registry PRIMARY KEY (uuid), 
	CONSTRAINT uq_dispersed_gpu_registry_name UNIQUE (name)
);

CREATE TABLE dispersed_nonces (
	public_key VARCHAR(128) NOT NULL, 
	nonce VARCHAR(128) NOT NULL, 
	seen_at BIGINT NOT NULL, 
	CONSTRAINT pk_dispersed_nonces PRIMARY KEY (public_key, nonce)
);

CREATE INDEX ix_dispersed_nonces_seen_at ON dispersed_nonces (seen_at);

CREATE TABLE dispersed_api_keys (
	uuid VARCHAR(36) NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	public_key VARCHAR(128) NOT NULL, 
	secret BLOB NOT NULL, 
	preset VARCHAR(32) NOT NULL, 
	node_uuid VARCHAR(36), 
	allowed_ips TEXT NOT NULL, 
	expires_at BIGINT, 
	last_used_at BIGINT, 
	revoked_at BIGINT, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_dispersed_api_keys PRIMARY KEY (uuid), 
	CONSTRAINT fk_dispersed_api_keys_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT uq_dispersed_api_keys_public_key UNIQUE (public_key)
);

CREATE INDEX ix_dispersed_api_keys_account_id ON dispersed_api_keys (account_id);

CREATE TABLE dispersed_authorizations (
	uuid VARCHAR(36) NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	job_run_uuid VARCHAR(36) NOT NULL, 
	amount BIGINT NOT NULL, 
	approved INTEGER NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	status_reason TEXT, 
	opened_at BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	closed_at BIGINT, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_dispersed_authorizations PRIMARY KEY (uuid), 
	CONSTRAINT fk_dispersed_authorizations_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_dispersed_authorizations_account_id_created_at ON dispersed_authorizations (account_id, created_at);

CREATE INDEX ix_dispersed_authorizations_job_run_uuid ON dispersed_authorizations (job_run_uuid);

CREATE INDEX ix_dispersed_authorizations_status ON dispersed_authorizations (status);

CREATE TABLE dispersed_jobs (
	uuid VARCHAR(36) NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	status_reason TEXT, 
	task VARCHAR(16) NOT NULL, 
	title VARCHAR(255) NOT NULL, 
	description TEXT, 
	cpu_count BIGINT NOT NULL, 
	gpu_count BIGINT NOT NULL, 
	min_ram_gb BIGINT NOT NULL, 
	min_vram_gb BIGINT NOT NULL, 
	min_storage_gb BIGINT NOT NULL, 
	gpu_name VARCHAR(255), 
	gpu_registry_uuid VARCHAR(36), 
	parameters TEXT NOT NULL, 
	secrets BLOB NOT NULL, 
	region_codes TEXT NOT NULL, 
	assign_by_ms BIGINT, 
	max_timeout_assign_ms BIGINT NOT NULL, 
	max_timeout_start_ms BIGINT NOT NULL, 
	max_timeout_run_ms BIGINT, 
	max_retry_count BIGINT NOT NULL, 
	max_node_count BIGINT NOT NULL, 
	retries BIGINT NOT NULL, 
	image_size_bytes BIGINT, 
	source_recipe_uuid VARCHAR(36), 
	started_at BIGINT, 
	completed_at BIGINT, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_dispersed_jobs PRIMARY KEY (uuid), 
	CONSTRAINT fk_dispersed_jobs_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_dispersed_jobs_account_id_created_at ON dispersed_jobs (account_id, created_at);

CREATE INDEX ix_dispersed_jobs_status_created_at ON dispersed_jobs (status, created_at);

CREATE TABLE dispersed_nodes (
	uuid VARCHAR(36) NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	node_id VARCHAR(64), 
	name VARCHAR(255) NOT NULL, 
	region_code VARCHAR(32), 
	reputation INTEGER NOT NULL, 
	hardware TEXT NOT NULL, 
	event TEXT, 
	last_seen_at BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_dispersed_nodes PRIMARY KEY (uuid), 
	CONSTRAINT fk_dispersed_nodes_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT fk_dispersed_nodes_node_id FOREIGN KEY(node_id) REFERENCES nodes (id), 
	CONSTRAINT uq_dispersed_nodes_node_id UNIQUE (node_id)
);

CREATE INDEX ix_dispersed_nodes_account_id ON dispersed_nodes (account_id);

CREATE TABLE dispersed_profiles (
	account_id VARCHAR(64) NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	email VARCHAR(200), 
	render_user_id VARCHAR(36) NOT NULL, 
	consumer_profile_uuid VARCHAR(36) NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_dispersed_profiles PRIMARY KEY (account_id), 
	CONSTRAINT fk_dispersed_profiles_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT uq_dispersed_profiles_uuid UNIQUE (uuid)
);

CREATE TABLE dispersed_recipes (
	uuid VARCHAR(36) NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	description TEXT, 
	visibility VARCHAR(16) NOT NULL, 
	payload TEXT NOT NULL, 
	secrets BLOB NOT NULL, 
	is_official INTEGER NOT NULL, 
	input_schema TEXT NOT NULL, 
	quickstart_md TEXT, 
	thumbnail_url TEXT, 
	forked_from VARCHAR(36), 
	last_used_at BIGINT, 
	deleted_at BIGINT, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_dispersed_recipes PRIMARY KEY (uuid), 
	CONSTRAINT fk_dispersed_recipes_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_dispersed_recipes_account_id ON dispersed_recipes (account_id);

CREATE INDEX ix_dispersed_recipes_visibility ON dispersed_recipes (visibility);

CREATE TABLE dispersed_replays (
	account_id VARCHAR(64) NOT NULL, 
	method VARCHAR(8) NOT NULL, 
	path_digest VARCHAR(64) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	body_digest VARCHAR(64) NOT NULL, 
	status INTEGER NOT NULL, 
	answer BLOB NOT NULL, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_dispersed_replays PRIMARY KEY (account_id, method, path_digest, "key"), 
	CONSTRAINT fk_dispersed_replays_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_dispersed_replays_created_at ON dispersed_replays (created_at);

CREATE TABLE dispersed_ssh_public_keys (
	uuid VARCHAR(36) NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	public_key TEXT NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	name VARCHAR(100), 
	is_default INTEGER NOT NULL, 
	last_used_at BIGINT, 
	deleted_at BIGINT, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_dispersed_ssh_public_keys PRIMARY KEY (uuid), 
	CONSTRAINT fk_dispersed_ssh_public_keys_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_dispersed_ssh_public_keys_account_id ON dispersed_ssh_public_keys (account_id);

CREATE TABLE dispersed_transactions (
	uuid VARCHAR(36) NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	type VARCHAR(16) NOT NULL, 
	amount BIGINT NOT NULL, 
	job_run_uuid VARCHAR(36), 
	authorization_uuid VARCHAR(36), 
	memo TEXT, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_dispersed_transactions PRIMARY KEY (uuid), 
	CONSTRAINT fk_dispersed_transactions_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_dispersed_transactions_account_id_created_at ON dispersed_transactions (account_id, created_at);

CREATE INDEX ix_dispersed_transactions_job_run_uuid ON dispersed_transactions (job_run_uuid);

CREATE TABLE dispersed_job_runs (
	uuid VARCHAR(36) NOT NULL, 
	job_uuid VARCHAR(36) NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	node_uuid VARCHAR(36) NOT NULL, 
	slot INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	status_reason TEXT, 
	snapshot TEXT NOT NULL, 
	sandbox_id VARCHAR(64), 
	engine_run_id VARCHAR(64), 
	node_urls TEXT NOT NULL, 
	hourly_rate BIGINT NOT NULL, 
	gpu_name VARCHAR(255), 
	gpu_count BIGINT NOT NULL, 
	authorization_uuid VARCHAR(36), 
	billed_ms BIGINT NOT NULL, 
	start_by BIGINT NOT NULL, 
	run_by BIGINT, 
	started_at BIGINT, 
	completed_at BIGINT, 
	exit_code INTEGER, 
	logs BLOB, 
	logs_bytes BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_dispersed_job_runs PRIMARY KEY (uuid), 
	CONSTRAINT fk_dispersed_job_runs_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT fk_dispersed_job_runs_job_uuid FOREIGN KEY(job_uuid) REFERENCES dispersed_jobs (uuid)
);

CREATE INDEX ix_dispersed_job_runs_account_id_created_at ON dispersed_job_runs (account_id, created_at);

CREATE INDEX ix_dispersed_job_runs_job_uuid ON dispersed_job_runs (job_uuid);

CREATE INDEX ix_dispersed_job_runs_status_created_at ON dispersed_job_runs (status, created_at);

CREATE TABLE dispersed_rewards (
	uuid VARCHAR(36) NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	node_uuid VARCHAR(36) NOT NULL, 
	epoch_start BIGINT NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	multiplier_millis INTEGER NOT NULL, 
	assignable_ms BIGINT NOT NULL, 
	worked_ms BIGINT NOT NULL, 
	prep_ms BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_dispersed_rewards PRIMARY KEY (uuid), 
	CONSTRAINT fk_dispersed_rewards_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT fk_dispersed_rewards_node_uuid FOREIGN KEY(node_uuid) REFERENCES dispersed_nodes (uuid), 
	CONSTRAINT uq_dispersed_rewards_node_uuid_epoch_start UNIQUE (node_uuid, epoch_start)
);

CREATE INDEX ix_dispersed_rewards_account_id ON dispersed_rewards (account_id);

CREATE TABLE octaspace_apps (
	uuid VARCHAR(36) NOT NULL, 
	account_id VARCHAR(64), 
	name VARCHAR(200) NOT NULL, 
	category VARCHAR(100) NOT NULL, 
	description TEXT NOT NULL, 
	image TEXT NOT NULL, 
	envs TEXT NOT NULL, 
	extra TEXT NOT NULL, 
	ports TEXT NOT NULL, 
	http_ports TEXT NOT NULL, 
	start_command TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_octaspace_apps PRIMARY KEY (uuid), 
	CONSTRAINT fk_octaspace_apps_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_octaspace_apps_account_id ON octaspace_apps (account_id);

CREATE TABLE octaspace_nodes (
	id INTEGER NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	node_id VARCHAR(64) NOT NULL, 
	slot INTEGER NOT NULL, 
	enabled INTEGER NOT NULL, 
	mr INTEGER NOT NULL, 
	render INTEGER NOT NULL, 
	vpn INTEGER NOT NULL, 
	currency_usd INTEGER NOT NULL, 
	base VARCHAR(80) NOT NULL, 
	storage VARCHAR(80) NOT NULL, 
	traffic VARCHAR(80) NOT NULL, 
	ident BLOB NOT NULL, 
	verified_at BIGINT, 
	booted_at BIGINT NOT NULL, 
	reboot_at BIGINT, 
	scores TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_octaspace_nodes PRIMARY KEY (id), 
	CONSTRAINT fk_octaspace_nodes_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT fk_octaspace_nodes_node_id FOREIGN KEY(node_id) REFERENCES nodes (id), 
	CONSTRAINT uq_octaspace_nodes_node_id_slot UNIQUE (node_id, slot)
);

CREATE INDEX ix_octaspace_nodes_account_id ON octaspace_nodes (account_id);

CREATE TABLE octaspace_profiles (
	uid INTEGER NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	email VARCHAR(200) NOT NULL, 
	ref_code VARCHAR(16) NOT NULL, 
	wallet VARCHAR(42) NOT NULL, 
	ssh_public_keys TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_octaspace_profiles PRIMARY KEY (uid), 
	CONSTRAINT fk_octaspace_profiles_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT uq_octaspace_profiles_account_id UNIQUE (account_id), 
	CONSTRAINT uq_octaspace_profiles_ref_code UNIQUE (ref_code), 
	CONSTRAINT uq_octaspace_profiles_uuid UNIQUE (uuid)
);

CREATE TABLE octaspace_wallets (
	address VARCHAR(42) NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	private_key BLOB NOT NULL, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_octaspace_wallets PRIMARY KEY (address), 
	CONSTRAINT fk_octaspace_wallets_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_octaspace_wallets_account_id ON octaspace_wallets (account_id);

CREATE TABLE octaspace_idle_jobs (
	node_id INTEGER NOT NULL, 
	job_id INTEGER NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	image TEXT NOT NULL, 
	command TEXT NOT NULL, 
	entrypoint TEXT NOT NULL, 
	envs BLOB NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	error TEXT, 
	sandbox_id VARCHAR(64), 
	run_id VARCHAR(64), 
	attempt INTEGER NOT NULL, 
	up_since BIGINT, 
	deleted_at BIGINT, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_octaspace_idle_jobs PRIMARY KEY (node_id, job_id), 
	CONSTRAINT fk_octaspace_idle_jobs_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT fk_octaspace_idle_jobs_node_id FOREIGN KEY(node_id) REFERENCES octaspace_nodes (id)
);

CREATE TABLE octaspace_sessions (
	uuid VARCHAR(36) NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	node_id INTEGER NOT NULL, 
	service VARCHAR(8) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	protocol VARCHAR(16), 
	state VARCHAR(16) NOT NULL, 
	app_uuid VARCHAR(36), 
	app_name VARCHAR(200), 
	app_logo TEXT, 
	image TEXT NOT NULL, 
	disk_gb BIGINT NOT NULL, 
	request TEXT NOT NULL, 
	envs BLOB NOT NULL, 
	label VARCHAR(63) NOT NULL, 
	secret BLOB NOT NULL, 
	sandbox_id VARCHAR(64), 
	run_id VARCHAR(64), 
	base VARCHAR(80) NOT NULL, 
	storage VARCHAR(80) NOT NULL, 
	traffic VARCHAR(80) NOT NULL, 
	currency_usd INTEGER NOT NULL, 
	base_usd BIGINT NOT NULL, 
	market_price BIGINT NOT NULL, 
	hardware TEXT NOT NULL, 
	config BLOB, 
	exit_ip VARCHAR(45), 
	tx BIGINT NOT NULL, 
	rx BIGINT NOT NULL, 
	billed_seconds BIGINT NOT NULL, 
	charged VARCHAR(80) NOT NULL, 
	bills INTEGER NOT NULL, 
	started_at BIGINT NOT NULL, 
	ready_at BIGINT, 
	seen_at BIGINT NOT NULL, 
	finished_at BIGINT, 
	ending INTEGER, 
	reason INTEGER, 
	score INTEGER, 
	log BLOB, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_octaspace_sessions PRIMARY KEY (uuid), 
	CONSTRAINT fk_octaspace_sessions_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT fk_octaspace_sessions_node_id FOREIGN KEY(node_id) REFERENCES octaspace_nodes (id), 
	CONSTRAINT uq_octaspace_sessions_label UNIQUE (label)
);

CREATE INDEX ix_octaspace_sessions_account_id_finished_at ON octaspace_sessions (account_id, finished_at);

CREATE INDEX ix_octaspace_sessions_finished_at ON octaspace_sessions (finished_at);

CREATE INDEX ix_octaspace_sessions_node_id ON octaspace_sessions (node_id);

CREATE TABLE octaspace_events (
	id INTEGER NOT NULL, 
	session_uuid VARCHAR(36) NOT NULL, 
	message TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	CONSTRAINT pk_octaspace_events PRIMARY KEY (id), 
	CONSTRAINT fk_octaspace_events_session_uuid FOREIGN KEY(session_uuid) REFERENCES octaspace_sessions (uuid)
);

CREATE INDEX ix_octaspace_events_session_uuid ON octaspace_events (session_uuid);

CREATE TABLE "leases" (
	id VARCHAR(80) NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	node_id VARCHAR(64) NOT NULL, 
	sandbox_id VARCHAR(64) NOT NULL, 
	purpose VARCHAR(100) NOT NULL, 
	cpu_millis INTEGER NOT NULL, 
	memory_bytes BIGINT NOT NULL, 
	gpus INTEGER NOT NULL, 
	currency VARCHAR(8) NOT NULL, 
	held VARCHAR(80) NOT NULL, 
	opened_at BIGINT NOT NULL, 
	seen_at BIGINT NOT NULL, 
	CONSTRAINT pk_leases PRIMARY KEY (id), 
	CONSTRAINT fk_leases_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT fk_leases_node_id FOREIGN KEY(node_id) REFERENCES nodes (id)
)
 WITHOUT ROWID

;

CREATE INDEX ix_runs_ended_at ON runs (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE dc1_images (
	image_ref VARCHAR(255) NOT NULL, 
	image_type VARCHAR(64) NOT NULL, 
	description TEXT, 
	digest VARCHAR(80), 
	approved_at BIGINT NOT NULL, 
	CONSTRAINT pk_dc1_images PRIMARY KEY (image_ref)
);

CREATE TABLE dc1_keys (
	id VARCHAR(36) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	owner_id INTEGER NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	hint VARCHAR(32) NOT NULL, 
	label VARCHAR(120), 
	scopes TEXT NOT NULL, 
	expires_at BIGINT, 
	last_used_at BIGINT, 
	revoked_at BIGINT, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_dc1_keys PRIMARY KEY (id), 
	CONSTRAINT uq_dc1_keys_digest UNIQUE (digest)
);

CREATE INDEX ix_dc1_keys_kind_owner_id ON dc1_keys (kind, owner_id);

CREATE TABLE dc1_providers (
	id INTEGER NOT NULL, 
	node_id VARCHAR(64), 
	name VARCHAR(100) NOT NULL, 
	email VARCHAR(320) NOT NULL, 
	gpu_model VARCHAR(200) NOT NULL, 
	os VARCHAR(16) NOT NULL, 
	phone VARCHAR(40), 
	location VARCHAR(200), 
	resource_spec TEXT, 
	status VARCHAR(16) NOT NULL, 
	approval VARCHAR(16) NOT NULL, 
	approved_at BIGINT, 
	rejected_reason TEXT, 
	paused INTEGER NOT NULL, 
	suspended INTEGER NOT NULL, 
	slots INTEGER NOT NULL, 
	rate_per_minute BIGINT, 
	vram_mib BIGINT NOT NULL, 
	gpu_count INTEGER NOT NULL, 
	compute_types TEXT NOT NULL, 
	profile TEXT NOT NULL, 
	preferences TEXT NOT NULL, 
	readiness VARCHAR(16), 
	preload_model VARCHAR(256), 
	preload_status VARCHAR(16) NOT NULL, 
	endpoint_url TEXT, 
	wallet_address VARCHAR(64), 
	wallet_updated_at BIGINT, 
	sealed_key BLOB, 
	total_jobs BIGINT NOT NULL, 
	failed_jobs BIGINT NOT NULL, 
	total_earned BIGINT NOT NULL, 
	last_heartbeat BIGINT, 
	online_ms BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_dc1_providers PRIMARY KEY (id), 
	CONSTRAINT fk_dc1_providers_node_id FOREIGN KEY(node_id) REFERENCES nodes (id), 
	CONSTRAINT uq_dc1_providers_email UNIQUE (email), 
	CONSTRAINT uq_dc1_providers_node_id UNIQUE (node_id)
);

CREATE TABLE dc1_renters (
	id INTEGER NOT NULL, 
	account_id VARCHAR(64) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	email VARCHAR(320) NOT NULL, 
	organization VARCHAR(160), 
	use_case VARCHAR(120), 
	phone VARCHAR(40), 
	webhook_url TEXT, 
	status VARCHAR(16) NOT NULL, 
	status_reason TEXT, 
	sealed_key BLOB, 
	total_jobs BIGINT NOT NULL, 
	total_spent BIGINT NOT NULL, 
	daily_jobs BIGINT, 
	monthly_spend BIGINT, 
	deleted_at BIGINT, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_dc1_renters PRIMARY KEY (id), 
	CONSTRAINT fk_dc1_renters_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT uq_dc1_renters_account_id UNIQUE (account_id), 
	CONSTRAINT uq_dc1_renters_email UNIQUE (email)
);

CREATE TABLE dc1_jobs (
	id INTEGER NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	renter_id INTEGER, 
	account_id VARCHAR(64), 
	provider_id INTEGER, 
	job_type VARCHAR(64) NOT NULL, 
	model VARCHAR(256), 
	status VARCHAR(16) NOT NULL, 
	params TEXT NOT NULL, 
	task_spec TEXT NOT NULL, 
	task_spec_hmac VARCHAR(64), 
	container_spec TEXT NOT NULL, 
	gpu_requirements TEXT, 
	template_id VARCHAR(128), 
	bundle_id VARCHAR(128), 
	duration_minutes VARCHAR(24) NOT NULL, 
	max_duration_seconds INTEGER NOT NULL, 
	timeout_at BIGINT, 
	quote BIGINT NOT NULL, 
	rate_per_minute BIGINT NOT NULL, 
	rate_snapshot TEXT, 
	charged BIGINT, 
	provider_earned BIGINT, 
	fee BIGINT, 
	refunded_at BIGINT, 
	pricing_class VARCHAR(32) NOT NULL, 
	rank INTEGER NOT NULL, 
	priority INTEGER NOT NULL, 
	turn INTEGER NOT NULL, 
	vram_required_mb BIGINT NOT NULL, 
	gpu_count INTEGER NOT NULL, 
	compute_type VARCHAR(16) NOT NULL, 
	prewarm INTEGER NOT NULL, 
	checkpoint INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	retry_count INTEGER NOT NULL, 
	restart_count INTEGER NOT NULL, 
	retried_from INTEGER, 
	retry_reason TEXT, 
	progress_phase VARCHAR(32), 
	progress_updated_at BIGINT, 
	endpoint_url TEXT, 
	serve_port INTEGER, 
	result TEXT, 
	error TEXT, 
	last_error TEXT, 
	exit_code INTEGER, 
	gpu_ms BIGINT NOT NULL, 
	prompt_tokens BIGINT, 
	completion_tokens BIGINT, 
	submitted_at BIGINT NOT NULL, 
	assigned_at BIGINT, 
	picked_up_at BIGINT, 
	started_at BIGINT, 
	first_token_at BIGINT, 
	completed_at BIGINT, 
	webhook_status VARCHAR(16), 
	webhook_attempts INTEGER NOT NULL, 
	webhook_notified_at BIGINT, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_dc1_jobs PRIMARY KEY (id), 
	CONSTRAINT fk_dc1_jobs_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT fk_dc1_jobs_provider_id FOREIGN KEY(provider_id) REFERENCES dc1_providers (id), 
	CONSTRAINT fk_dc1_jobs_renter_id FOREIGN KEY(renter_id) REFERENCES dc1_renters (id), 
	CONSTRAINT uq_dc1_jobs_job_id UNIQUE (job_id)
);

CREATE INDEX ix_dc1_jobs_provider_id_id ON dc1_jobs (provider_id, id);

CREATE INDEX ix_dc1_jobs_renter_id_id ON dc1_jobs (renter_id, id);

CREATE INDEX ix_dc1_jobs_status_provider_id ON dc1_jobs (status, provider_id);

CREATE TABLE dc1_payments (
	id VARCHAR(36) NOT NULL, 
	renter_id INTEGER NOT NULL, 
	amount BIGINT NOT NULL, 
	method VARCHAR(32) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	memo TEXT, 
	paid_at BIGINT, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_dc1_payments PRIMARY KEY (id), 
	CONSTRAINT fk_dc1_payments_renter_id FOREIGN KEY(renter_id) REFERENCES dc1_renters (id)
);

CREATE INDEX ix_dc1_payments_renter_id ON dc1_payments (renter_id);

CREATE TABLE dc1_presets (
	id INTEGER NOT NULL, 
	renter_id INTEGER NOT NULL, 
	name VARCHAR(120) NOT NULL, 
	body TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_dc1_presets PRIMARY KEY (id), 
	CONSTRAINT fk_dc1_presets_renter_id FOREIGN KEY(renter_id) REFERENCES dc1_renters (id)
);

CREATE INDEX ix_dc1_presets_renter_id ON dc1_presets (renter_id);

CREATE TABLE dc1_provider_events (
	id INTEGER NOT NULL, 
	provider_id INTEGER NOT NULL, 
	event_type VARCHAR(64) NOT NULL, 
	severity VARCHAR(16) NOT NULL, 
	details TEXT, 
	job_id VARCHAR(64), 
	occurred_at BIGINT NOT NULL, 
	CONSTRAINT pk_dc1_provider_events PRIMARY KEY (id), 
	CONSTRAINT fk_dc1_provider_events_provider_id FOREIGN KEY(provider_id) REFERENCES dc1_providers (id)
);

CREATE INDEX ix_dc1_provider_events_provider_id ON dc1_provider_events (provider_id);

CREATE TABLE dc1_seen_events (
	digest VARCHAR(64) NOT NULL, 
	seen_at BIGINT NOT NULL, 
	CONSTRAINT pk_dc1_seen_events PRIMARY KEY (digest)
);

CREATE INDEX ix_dc1_seen_events_seen_at ON dc1_seen_events (seen_at);

CREATE TABLE dc1_challenges (
	id VARCHAR(36) NOT NULL, 
	provider_id INTEGER NOT NULL, 
	nonce VARCHAR(64) NOT NULL, 
	rounds INTEGER NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	score INTEGER, 
	flags TEXT, 
	expires_at BIGINT NOT NULL, 
	answered_at BIGINT, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_dc1_challenges PRIMARY KEY (id), 
	CONSTRAINT fk_dc1_challenges_provider_id FOREIGN KEY(provider_id) REFERENCES dc1_providers (id)
);

CREATE INDEX ix_dc1_challenges_provider_id ON dc1_challenges (provider_id);

CREATE TABLE dc1_replays (
	renter_id INTEGER NOT NULL, 
	route VARCHAR(16) NOT NULL, 
	"key" VARCHAR(128) NOT NULL, 
	body_digest VARCHAR(64) NOT NULL, 
	status INTEGER NOT NULL, 
	answer TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_dc1_replays PRIMARY KEY (renter_id, route, "key"), 
	CONSTRAINT fk_dc1_replays_renter_id FOREIGN KEY(renter_id) REFERENCES dc1_renters (id)
);

CREATE INDEX ix_dc1_replays_created_at ON dc1_replays (created_at);

CREATE TABLE dc1_webhooks (
	id VARCHAR(36) NOT NULL, 
	renter_id INTEGER NOT NULL, 
	url TEXT NOT NULL, 
	sealed_secret BLOB NOT NULL, 
	events TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_dc1_webhooks PRIMARY KEY (id), 
	CONSTRAINT fk_dc1_webhooks_renter_id FOREIGN KEY(renter_id) REFERENCES dc1_renters (id)
);

CREATE INDEX ix_dc1_webhooks_renter_id ON dc1_webhooks (renter_id);

CREATE TABLE dc1_withdrawals (
	id INTEGER NOT NULL, 
	provider_id INTEGER NOT NULL, 
	amount BIGINT NOT NULL, 
	method VARCHAR(32) NOT NULL, 
	sealed_details BLOB NOT NULL, 
	hint VARCHAR(32) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	processed_at BIGINT, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_dc1_withdrawals PRIMARY KEY (id), 
	CONSTRAINT fk_dc1_withdrawals_provider_id FOREIGN KEY(provider_id) REFERENCES dc1_providers (id)
);

CREATE INDEX ix_dc1_withdrawals_provider_id ON dc1_withdrawals (provider_id);

CREATE TABLE dc1_deliveries (
	id INTEGER NOT NULL, 
	renter_id INTEGER NOT NULL, 
	job INTEGER, 
	webhook_id VARCHAR(36), 
	event VARCHAR(32) NOT NULL, 
	body TEXT NOT NULL, 
	attempts INTEGER NOT NULL, 
	next_at BIGINT, 
	outcome VARCHAR(200), 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_dc1_deliveries PRIMARY KEY (id), 
	CONSTRAINT fk_dc1_deliveries_job FOREIGN KEY(job) REFERENCES dc1_jobs (id), 
	CONSTRAINT fk_dc1_deliveries_renter_id FOREIGN KEY(renter_id) REFERENCES dc1_renters (id)
);

CREATE INDEX ix_dc1_deliveries_job ON dc1_deliveries (job);

CREATE INDEX ix_dc1_deliveries_next_at ON dc1_deliveries (next_at);

CREATE TABLE dc1_events (
	job INTEGER NOT NULL, 
	sequence_no INTEGER NOT NULL, 
	event_type VARCHAR(32) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	source VARCHAR(16) NOT NULL, 
	error_category VARCHAR(64), 
	error_code VARCHAR(64), 
	message TEXT, 
	payload TEXT, 
	occurred_at BIGINT NOT NULL, 
	CONSTRAINT pk_dc1_events PRIMARY KEY (job, sequence_no), 
	CONSTRAINT fk_dc1_events_job FOREIGN KEY(job) REFERENCES dc1_jobs (id)
);

CREATE TABLE dc1_executions (
	id INTEGER NOT NULL, 
	job INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	provider_id INTEGER NOT NULL, 
	started_at BIGINT NOT NULL, 
	ended_at BIGINT, 
	exit_code INTEGER, 
	gpu_ms BIGINT NOT NULL, 
	cost BIGINT, 
	CONSTRAINT pk_dc1_executions PRIMARY KEY (id), 
	CONSTRAINT fk_dc1_executions_job FOREIGN KEY(job) REFERENCES dc1_jobs (id), 
	CONSTRAINT fk_dc1_executions_provider_id FOREIGN KEY(provider_id) REFERENCES dc1_providers (id), 
	CONSTRAINT uq_dc1_executions_job_attempt UNIQUE (job, attempt)
);

CREATE TABLE dc1_logs (
	job INTEGER NOT NULL, 
	line_no INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	level VARCHAR(8) NOT NULL, 
	message TEXT NOT NULL, 
	logged_at BIGINT NOT NULL, 
	CONSTRAINT pk_dc1_logs PRIMARY KEY (job, line_no), 
	CONSTRAINT fk_dc1_logs_job FOREIGN KEY(job) REFERENCES dc1_jobs (id)
);

INSERT INTO alembic_version VALUES ('0007')
