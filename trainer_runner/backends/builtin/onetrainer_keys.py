"""OneTrainer's vocabulary: its model types, and the keys of its config that the built-in trainer ignores (of an unknown key it warns).

As of OneTrainer 23df3832, `modules/util/config/TrainConfig.py`, `ConceptConfig.py`, `SampleConfig.py`, `enum/ModelType.py`.
"""
# ruff: noqa: SIM905 - a list of 150 quoted words is not easier to read

from typing import Literal

ModelType = Literal[
    "BUILTIN", "STABLE_DIFFUSION_15", "STABLE_DIFFUSION_15_INPAINTING", "STABLE_DIFFUSION_20", "STABLE_DIFFUSION_20_BASE",
    "STABLE_DIFFUSION_20_INPAINTING", "STABLE_DIFFUSION_20_DEPTH", "STABLE_DIFFUSION_21", "STABLE_DIFFUSION_21_BASE",
    "STABLE_DIFFUSION_3", "STABLE_DIFFUSION_35", "STABLE_DIFFUSION_XL_10_BASE", "STABLE_DIFFUSION_XL_10_BASE_INPAINTING",
    "WUERSTCHEN_2", "STABLE_CASCADE_1", "PIXART_ALPHA", "PIXART_SIGMA", "FLUX_DEV_1", "FLUX_FILL_DEV_1", "FLUX_2", "SANA",
    "HUNYUAN_VIDEO", "HI_DREAM_FULL", "CHROMA_1", "QWEN", "ANIMA", "KREA_2", "Z_IMAGE", "ERNIE", "IDEOGRAM_4",
]  # fmt: skip

TRAINING = frozenset(
    """
    additional_embeddings aspect_ratio_bucketing async_gradient_reduce async_gradient_reduce_buffer async_offloading
    attention_mechanism base_model_name bundle_additional_embeddings cache_dir clear_cache_before_training cloud compile
    custom_conditioning_image custom_learning_rate_scheduler debug_dir debug_mode decoder decoder_text_encoder decoder_vqgan
    device_indexes dropout_probability dynamic_timestep_shifting effnet_encoder embedding embedding_learning_rate
    embedding_weight_dtype enable_autocast_cache fallback_train_dtype force_circular_padding force_epsilon_prediction
    force_v_prediction frames fused_gradient_reduce generalized_offset_noise gradient_reduce_precision huber_delta huber_strength
    huggingface_cache_dir include_train_config latent_caching layer_filter layer_filter_preset layer_filter_regex
    learning_rate_cycles learning_rate_scaler log_cosh_strength lokr_decompose_both lokr_decompose_factor lokr_dim
    lokr_dora_on_output lokr_full_matrix lokr_use_tucker lokr_vec_trick lokr_weight_decompose lora_alpha lora_decompose
    lora_decompose_norm_epsilon lora_decompose_output_axis lora_model_name lora_rank lora_weight_dtype loss_scaler loss_weight_fn
    loss_weight_strength mae_strength masked_prior_preservation_weight masked_training max_noising_strength min_noising_strength
    mse_strength multi_gpu noising_bias noising_weight normalize_masked_area_loss offline_mode offset_noise_weight oft_block_share
    oft_block_size oft_scaled only_cache optimizer_defaults output_dtype peft_type perturbation_noise_weight
    preserve_embedding_norm prevent_overwrites prior quantization rescale_noise_scheduler_to_zero_terminal_snr sample_audio_format
    sample_video_format scheduler_params secrets temp_device tensorboard_always_on tensorboard_expose tensorboard_port
    text_encoder text_encoder_2 text_encoder_2_layer_skip text_encoder_2_sequence_length text_encoder_3 text_encoder_3_layer_skip
    text_encoder_4 text_encoder_4_layer_skip text_encoder_layer_skip text_encoder_sequence_length timestep_distribution
    timestep_shift train_dtype transformer unconditional_transformer unet unmasked_probability unmasked_weight vae validate_after
    validate_after_unit validation vb_loss_strength
    embeddings gradient_checkpointing weight_dtype
""".split()
)

CONCEPT = frozenset("concept_stats image image_variations loss_weight seed text text_variations".split())

SAMPLE = frozenset(
    """
    base_image_path force_last_timestep frames length mask_image_path noise_scheduler sample_inpainting text_encoder_1_layer_skip
    text_encoder_1_sequence_length text_encoder_2_layer_skip text_encoder_2_sequence_length text_encoder_3_layer_skip
    text_encoder_4_layer_skip transformer_attention_mask
""".split()
)
