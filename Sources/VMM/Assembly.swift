// SPDX-License-Identifier: Apache-2.0

internal import Boot
internal import GuestMemory
internal import KVM
internal import Linux
internal import PCI
internal import Passthrough
internal import VFIO

/// A machine that has been put together and not yet run.
struct Assembly {
  let machine: VirtualMachine
  let memory: GuestMemory
  let cpus: [VirtualCPU]
  let devices: AssignedDevices
  let serial: Serial
  let root: RootBus

  /// Ports for I/O BARs: above those of a PC's own devices.
  private static let ioWindow: Range<UInt64> = 0xC000..<0x1_0000

  /// Puts a machine together: first what can be refused without touching a device.
  init(_ configuration: Configuration, recorder: Recorder, output: @escaping @Sendable (UInt8) -> Bool)
    throws(RunError)
  {
    let system = try step(RunError.system) { () throws(SystemError) in try System() }
    if configuration.cpus > system.cpuLimit {
      throw .host(
        "\(configuration.cpus) vCPUs: KVM on this machine takes \(system.cpuLimit); give a smaller --cpus")
    }
    let problem = try step(RunError.kernel) { () throws(KernelError) in
      try HostResources().problem(configuration)
    }
    if let problem { throw .host(problem) }
    let hosts = try AssignedDevices.check(configuration.devices)
    if let problem = Self.startProblem(hosts, pageSize: configuration.backing.pageSize) {
      throw .host(problem)
    }
    let reserved = hosts.flatMap(\.reserved)
    let memory = try step(RunError.kernel) { () throws(KernelError) in
      try GuestMemory(
        size: configuration.memory, backing: configuration.backing, node: configuration.memoryNode,
        holes: reserved)
    }
    self.memory = memory
    let features = try step(RunError.kernel) { () throws(KernelError) in
      try CPUFeatures(system, cpus: configuration.cpus, isNested: configuration.isNested)
    }
    let machine: VirtualMachine
    (machine, cpus, serial) = try Self.machine(
      system, memory: memory, features: features, count: configuration.cpus, output: output)
    recorder.phase("machine-made")
    let bootCPU = cpus[0]
    let entry = try step(RunError.boot) { () throws(BootError) in
      try KernelImage.load(
        path: configuration.kernel, initrd: configuration.initrd,
        commandLine: Self.commandLine(configuration.commandLine, frequency: bootCPU.timeStampFrequency),
        memory: memory)
    }
    try step(RunError.kernel) { () throws(KernelError) in
      try bootCPU.setState(CPUState(entry.initialState))
    }
    recorder.phase("kernel-loaded")
    self.machine = machine
    let slots = MemorySlots(
      machine, limit: system.memorySlotCount, reserved: memory.regions.count,
      platform: PlatformLayout.trapped)
    devices = try AssignedDevices(
      configuration.devices, hosts: hosts, machine: machine, slots: slots,
      routeLimit: system.routeCount, memory: memory,
      recorder: recorder)
    root = RootBus(
      functions: devices.functions, places: devices.places, decoder: devices.host?.decoder)
    let window = try Self.place(
      devices, memory: memory, addressBits: features.addressBits, reserved: reserved)
    let cpuCount = configuration.cpus
    try step(RunError.boot) { () throws(BootError) in
      _ = try ACPI.install(Platform(cpus: cpuCount, pciWindow64: window), in: memory)
      try ResetVector.install(in: memory)
    }
    recorder.phase("devices-ready")
  }

  private static func machine(
    _ system: borrowing System, memory: GuestMemory, features: CPUFeatures, count: Int,
    output: @escaping @Sendable (UInt8) -> Bool
  ) throws(RunError) -> (VirtualMachine, [VirtualCPU], Serial) {
    do throws(KernelError) {
      let machine = try VirtualMachine(system)
      for (slot, region) in memory.regions.enumerated() {
        try machine.setMemory(
          slot: UInt32(slot), at: region.base, size: region.size, host: region.hostAddress)
      }
      let serial = try Serial(output: output)
      try machine.connect(event: serial.interrupt.number, toInterrupt: PlatformLayout.com1GSI)
      var cpus: [VirtualCPU] = []
      for index in 0..<count { cpus.append(try VirtualCPU(machine, index: index, features: features)) }
      return (machine, cpus, serial)
    } catch { throw .kernel(error) }
  }

  /// Options of Linux that turn KVM's clock off (arch/x86/kernel/kvmclock.c, arch/x86/kernel/cpu/hypervisor.c).
  private static let clockOptions: Set<Substring> = ["no-kvmclock", "nopv"]

  /// Why no guest can start with these devices; nil if none of them takes RAM from the first MiB.
  ///
  /// - Parameter pageSize: Of guest RAM, in bytes. A reserved address takes a whole page.
  static func startProblem(_ hosts: [AssignedDevices.ReadyDevice], pageSize: UInt64) -> String? {
    for host in hosts {
      guard let hole = host.reserved.first(where: { $0.lowerBound & ~(pageSize - 1) < 1 << 20 }) else {
        continue
      }
      let range = "\(GuestAddress(hole.lowerBound))–\(GuestAddress(hole.upperBound))"
      return hole.lowerBound < 1 << 20
        ? "device \(host.address): the host reserves the I/O addresses \(range) of IOMMU group \(host.group), and a guest "
          + "needs RAM there to start; the firmware demands them for the device (RMRR): turn its legacy support off "
          + "in the firmware, or use another device"
        : "device \(host.address): the host reserves the I/O addresses \(range) of IOMMU group \(host.group), which take "
          + "the page of \(pageSize >> 20) MiB from which a guest starts; give smaller pages (--memory SIZE,hugepages=2M)"
    }
    return nil
  }

  /// The kernel's command line, with the frequency of the time stamp counter if Linux is not to use KVM's clock. A
  /// hardware-reduced machine has neither an HPET nor a PM timer, and Linux reads the PIT only early in the boot,
  /// which fails if an exit is slow (Linux arch/x86/kernel/tsc.c, quick_pit_calibrate).
  ///
  /// - Parameter frequency: kHz; nil if it is not known.
  static func commandLine(_ text: String, frequency: Int?) -> String {
    let words = text.split(whereSeparator: \.isWhitespace)
    guard let frequency, !words.contains(where: { $0.hasPrefix("tsc_early_khz=") }) else { return text }
    guard let clock = words.first(where: { clockOptions.contains($0) }) else { return text }
    return text[..<clock.endIndex] + " tsc_early_khz=\(frequency)" + text[clock.endIndex...]
  }

  private static func name(_ bar: BaseAddress) -> String {
    bar.kind == .rom ? "the ROM" : "BAR \(bar.index)"
  }

  /// The largest part of a range of GPAs that holds no reserved address.
  static func largest(_ range: Range<UInt64>, without reserved: [ClosedRange<UInt64>]) -> Range<UInt64> {
    var parts = [range]
    for hole in reserved {
      parts = parts.flatMap { part -> [Range<UInt64>] in
        guard hole.lowerBound < part.upperBound, hole.upperBound >= part.lowerBound else { return [part] }
        let before = part.lowerBound..<max(part.lowerBound, hole.lowerBound)
        let after = hole.upperBound == .max ? part.upperBound : hole.upperBound + 1
        return [before, min(after, part.upperBound)..<part.upperBound]
      }
    }
    return parts.max { $0.upperBound - $0.lowerBound < $1.upperBound - $1.lowerBound } ?? range
  }

  /// Why a BAR gets no address, and the remedy. The windows below 4 GiB are fixed.
  private static func noRoom(for bar: BaseAddress, memory64: Range<UInt64>) -> String {
    let size = bar.size >= 1 << 20 ? "\(bar.size >> 20) MiB" : "\(bar.size) bytes"
    let name = "\(name(bar)) of \(size)"
    func text(_ window: Range<UInt64>) -> String {
      "0x\(String(window.lowerBound, radix: 16))-0x\(String(max(window.upperBound, 1) - 1, radix: 16))"
    }
    switch bar.kind {
    case .io:
      return
        "\(name) does not fit beside the others in the guest's I/O ports \(text(ioWindow)); give fewer devices"
    case .memory32, .rom:
      return "\(name) takes addresses of 32 bits and does not fit beside the others in "
        + "\(text(PlatformLayout.pciWindow32)); give fewer devices"
    case .memory64:
      return
        "\(name) does not fit in the guest-physical addresses \(text(memory64)) that the processor and the IOMMU "
        + "translate above guest RAM; give fewer devices or a smaller --memory"
    }
  }

  /// Gives every BAR an address; the 64-bit window that the guest is told of.
  private static func place(
    _ devices: AssignedDevices, memory: GuestMemory, addressBits: Int, reserved: [ClosedRange<UInt64>]
  ) throws(RunError) -> Range<UInt64> {
    let bars = devices.functions.flatMap(\.bars)
    let largest = bars.map(\.size).max() ?? 0
    let start = max(GuestMemory.holeEnd, memory.regions.last?.end.rawValue ?? 0)
      .roundedUp(to: max(1 << 30, largest))
    let end = min(1 << UInt64(addressBits), devices.ioLimit)
    let window = Self.largest(start..<max(start, end), without: reserved)
    var placement = BarPlacement(
      io: ioWindow, memory32: PlatformLayout.pciWindow32, memory64: window)
    let addresses: [UInt64]
    do throws(BarPlacement.NoRoom) { addresses = try placement.place(bars) } catch {
      var position = error.position
      for function in devices.functions {
        if position < function.bars.count {
          throw .host(
            "device \(function.address): \(Self.noRoom(for: function.bars[position], memory64: window))")
        }
        position -= function.bars.count
      }
      throw .host("a BAR of \(error.size) bytes fits in no window of guest-physical addresses")
    }
    var next = 0
    for (function, place) in zip(devices.functions, devices.places) {
      let own = Array(addresses[next..<next + function.bars.count])
      next += function.bars.count
      try step(RunError.function) { () throws(FunctionError) in
        try function.place(
          own, isMultifunction: place.isShared,
          gsi: PlatformLayout.gsi(slot: place.slot, pin: function.interruptPin ?? 0))
      }
    }
    return window
  }
}

extension CPUState {
  /// What a boot protocol fixes, in KVM's terms.
  init(_ state: InitialState) {
    func segment(_ segment: InitialState.Segment) -> Segment {
      Segment(
        selector: segment.selector, base: segment.base, limit: segment.limit, type: segment.type,
        isCodeOrData: segment.s != 0, isLong: segment.l != 0, isWide: segment.db != 0,
        hasPageGranularity: segment.g != 0)
    }
    self.init(
      rip: state.rip, cr0: state.cr0, code: segment(state.cs), data: segment(state.data),
      task: segment(state.tr), descriptorTable: (state.gdt.base, state.gdt.limit))
    rsi = state.rsi
    rbx = state.rbx
    rax = state.rax
    cr3 = state.cr3
    cr4 = state.cr4
    efer = state.efer
  }
}
