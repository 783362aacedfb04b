/**
 * Pipelines, made once for each text of a shader. Layouts are explicit and follow from how the
 * kernel uses its buffers alone, so that kernels of one signature share one layout.
 *
 * @module
 */
import type { Access, Kernel } from "../kernels/kernel.ts";
import type { Device } from "./device.ts";

/** A shader ready to run, and the layout of its bind groups. */
export interface Pipeline {
  readonly gpu: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

const bufferType: { readonly [A in Access]: GPUBufferBindingType } = {
  read: "read-only-storage",
  write: "storage",
  update: "storage",
};

/** The pipelines of one device. */
export class Pipelines {
  readonly #pipelines = new Map<string, Pipeline>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();

  /** An empty cache for `device`. */
  constructor(private readonly device: Device) {}

  /** Shaders compiled so far. */
  get size(): number {
    return this.#pipelines.size;
  }

  /** The pipeline of a kernel: the existing one if its text and its bindings are known. */
  of(kernel: Kernel): Pipeline {
    const signature = kernel.access.map((access) => bufferType[access]).join() +
      (kernel.uniforms === undefined ? "" : ",uniform");
    const key = signature + "\n" + kernel.wgsl;
    let pipeline = this.#pipelines.get(key);
    if (pipeline === undefined) {
      const { gpu } = this.device;
      const { label } = kernel;
      const layout = this.#layout(signature);
      const module = gpu.createShaderModule({ label, code: kernel.wgsl });
      pipeline = {
        layout,
        gpu: gpu.createComputePipeline({
          label,
          layout: gpu.createPipelineLayout({ label: signature, bindGroupLayouts: [layout] }),
          compute: { module, entryPoint: "main" },
        }),
      };
      this.#pipelines.set(key, pipeline);
    }
    return pipeline;
  }

  #layout(signature: string): GPUBindGroupLayout {
    let layout = this.#layouts.get(signature);
    if (layout === undefined) {
      const entries = signature === "" ? [] : signature.split(",").map((type, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: type as GPUBufferBindingType },
      }));
      layout = this.device.gpu.createBindGroupLayout({ label: signature, entries });
      this.#layouts.set(signature, layout);
    }
    return layout;
  }
}
